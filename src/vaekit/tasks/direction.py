"""Learn a direction in latent space from labelled items, and measure what else it changes."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from torch import Tensor

from vaekit.checkpoints.direction_files import DirectionFile, check_same_vae, load_direction, save_direction
from vaekit.errors import BadPlan, CannotWrite, VaekitError, printable
from vaekit.latents.directions import SHIFT, SPREAD, Direction, log_spread, summarize
from vaekit.latents.learned_directions import Effect, effect, flattened, learn, side_effects
from vaekit.latents.probes import METHODS, Score
from vaekit.latents.targets import Target, every_target, target_of
from vaekit.tasks.batch import Progress, no_progress
from vaekit.tasks.encoded_data import as_it_is
from vaekit.tasks.labelled_data import Reduce, labelled_latents, path_names
from vaekit.tasks.model import OpenModel
from vaekit.tasks.options import SelectionOptions
from vaekit.tasks.property import property_of
from vaekit.vae import at_item_size

MOST_SIDE_EFFECTS = 200
"""Labels whose side effects are measured."""


@dataclass(frozen=True)
class DirectionOptions:
    """Which label, and how the direction is fitted to it."""

    label: str | None = None
    """The column of the label; None for the usual one, or for several paths the paths themselves."""
    positive: str | None = None
    """The class that the direction leads to, away from all others."""
    method: str = "mean"
    """Of `vaekit.latents.probes.METHODS`: "mean", the difference of means; or "ridge" regression."""
    orthogonal_to: tuple[Path, ...] = ()
    """Files of directions, whose labels the direction should not change."""
    name: str | None = None
    """Of the direction; None for that of the label or class."""
    whole: bool = False
    """Learn a vector for each position of the latents, for items that are aligned; instead of one for all."""
    spread: bool = False
    """Change the differences between positions, such as contrast, instead of their mean."""
    limit: int | None = None
    """The maximum number of items, a deterministic subset."""
    seed: int = 0
    """Of the subset."""
    property: str | None = None
    """A property that is computed of items, which is their label instead; see `property_of`."""


@dataclass(frozen=True)
class DirectionResult:
    """A direction that was learned and written."""

    file: Path
    name: str
    label: str
    classes: tuple[str, str] | None
    """The classes that it leads from and to; None for numbers."""
    items: int
    """The number of items with a label."""
    std: float
    """The standard deviation of the latents along the direction: one step."""
    distance: float
    """Steps between the means of the classes, or per unit of the label, in the data."""
    step: float
    """The change of the label by one step, in its own units, as its linear probe estimates it; for classes, the share
    of the way from one to the other."""
    decoded_step: float | None
    """The same of items that were moved, decoded, and encoded again: less if the decoder does not follow. None if the
    VAE has no decoder."""
    score: Score | None
    """Of the direction, cross-validated: how well positions along it predict the label of other items."""
    probe_score: Score | None
    """Of the best linear probe (ridge regression) of the same label: the most that a direction can reach."""
    side_effects: tuple[Effect, ...]
    """On other labels by one step; the largest first."""
    others: tuple[Effect, ...]
    """On the labels of the directions that it was made orthogonal to."""
    without: tuple[Effect, ...]
    """The same, had it not been made orthogonal to them."""
    positions: tuple[int, ...]
    """The positions of the latents, if the direction differs between them; else empty."""
    everywhere: bool
    """Whether latents have several positions, and all of them move by the same amount."""
    notes: tuple[str, ...]
    """Items that were left out."""


def direction(
    model: OpenModel,
    paths: Sequence[Path],
    out: Path,
    options: DirectionOptions = DirectionOptions(),
    progress: Progress = no_progress,
) -> DirectionResult:
    """Learn a direction from labelled items, and write it into a file.

    Args:
        model: the VAE.
        paths: a data set with labels; or two or more, each with the items of one class.
        out: the file; an older direction is replaced.
        options: which label and how.
        progress: called with the number of encoded items and of all.

    Raises:
        NotFound, NoTrainingData: the data or their labels cannot be read, or items have no such property.
        BadItem: too few items can be read.
        BadPlan: labels and options do not fit; see `target_of` and `learn`.
        BadDirection, LatentMismatch: a direction to be orthogonal to is damaged, or of another VAE.
        CannotWrite: the file cannot be written, or would overwrite the data.
    """
    check_options(out, paths, options)
    kind, reduce = kind_of(model, options)
    computed = None if options.property is None else property_of(model.domain, model.schema, options.property)
    others = [load_direction(path) for path in options.orthogonal_to]
    for path, other in zip(options.orthogonal_to, others, strict=True):
        check_same_vae(path, other.space, model.origin)
    selection = SelectionOptions(options.limit, options.seed)
    data = labelled_latents(model, paths, options.label, selection, reduce, progress, computed)
    target = target_of(data.label, data.labels, options.positive or last_path(paths, options))
    shape = tuple(data.z.shape[1:])
    probes = [
        probe_of_shape(path, other, shape, kind) for path, other in zip(options.orthogonal_to, others, strict=True)
    ]
    name = printable(options.name or (target.classes[1] if target.classes else target.name))
    learned = learn(data.z, target, options.method, name, probes, kind)
    plain = learn(data.z, target, options.method, name, kind=kind) if probes else learned
    named = list(zip(others, probes, strict=True))
    step = decoded_step(model, learned.direction, data.examples, reduce)
    own = effect(target.name, learned.direction, learned.probe.weights, step)
    effects = side_effects(data.z, learned.direction, other_targets(data.others), step)
    result = DirectionResult(
        file=out,
        name=name,
        label=target.name,
        classes=target.classes,
        items=len(target.known),
        std=learned.direction.std,
        distance=learned.distance,
        step=own.change * target.std,
        decoded_step=None if own.decoded is None else own.decoded * target.std,
        score=learned.score,
        probe_score=learned.probe.score,
        side_effects=tuple(sorted(effects, key=lambda each: -abs(each.change))),
        others=tuple(effect(other.direction.name, learned.direction, probe, step) for other, probe in named),
        without=tuple(effect(other.direction.name, plain.direction, probe) for other, probe in named),
        positions=shape[1:],
        everywhere=not shape[1:] and prod(data.positions) > 1,
        notes=(*data.notes, *number_notes(target, options)),
    )
    facts = {**facts_of(result), "options": plain_options(options), "data": [str(path) for path in paths]}
    probe = learned.probe.weights.view(shape)
    save_direction(out, DirectionFile(learned.direction, probe, model.origin, facts))
    return result


def number_notes(target: Target, options: DirectionOptions) -> tuple[str, ...]:
    """Whether labels that nobody named, such as class folders or digits, were read as numbers."""
    if target.classes is not None or options.label is not None or options.property is not None:
        return ()
    return (
        f"The labels ({printable(target.name)}) are all numbers, and the direction leads to higher ones. "
        "For one to a class, choose it with --positive.",
    )


def kind_of(model: OpenModel, options: DirectionOptions) -> tuple[str, Reduce]:
    """The kind of the direction, and what it is learned from.

    Raises:
        BadPlan: the latents have no positions to differ between.
    """
    if not options.spread:
        return SHIFT, as_it_is if options.whole else summarize
    positions = model.engine.geometry.latent_size(model.schema.example().shape[2:])
    if options.whole or prod(positions) == 1:
        found = (
            "--map and --spread were both requested" if options.whole else "The latents of this VAE have one position"
        )
        raise BadPlan(
            f"{found}.", "Expected latents with several positions, and only one of both.", "Leave out --spread."
        )
    return SPREAD, log_spread


def decoded_step(model: OpenModel, direction: Direction, z: Tensor, reduce: Reduce) -> Tensor | None:
    """The mean change of latents by one step along a direction, after decoding and encoding again: (d), in float64.

    Args:
        model: the VAE.
        direction: the direction.
        z: whole latents of a few items.
        reduce: see `labelled_latents`.

    Returns:
        None if they cannot be decoded.
    """
    size = tuple(model.schema.example().shape[2:])
    ends = []
    try:
        for distance in (-1.0, 1.0):
            items = at_item_size(model.decode(direction.move(z, [distance]), size), model.engine.geometry)
            ends.append(flattened(reduce(model.engine.encode(items).mode).cpu()).mean(dim=0))
    except VaekitError:
        return None
    return (ends[1] - ends[0]) / 2


def check_options(out: Path, paths: Sequence[Path], options: DirectionOptions) -> None:
    """Check what can be checked before anything is encoded.

    Raises:
        BadPlan: there is no such method, or no such limit.
        CannotWrite: the file is one of those that are read, or exists and is something else.
    """
    if options.method not in METHODS:
        raise BadPlan(f"There is no method {printable(options.method)!r}.", f"Expected {', '.join(METHODS)}.", "")
    if options.property is not None and options.label is not None:
        raise BadPlan(
            f"The label is the column {printable(options.label)} and the property {printable(options.property)}.",
            "Expected one of both.",
            "Leave out --label, or --property.",
        )
    if options.limit is not None and options.limit < 1:
        raise BadPlan(f"The limit is {options.limit:,} items.", "Expected 1 or more.", "")
    if os.path.realpath(out) in map(os.path.realpath, (*paths, *options.orthogonal_to)):
        raise CannotWrite(f"The output {out} would overwrite an input.", "", "Choose another name.")
    if out.is_file() and not is_direction(out):
        raise CannotWrite(
            f"{out} exists, and is no direction.",
            "Expected a new name, or the file of a direction.",
            "Choose another name, or remove the file.",
        )


def is_direction(path: Path) -> bool:
    """Whether a file holds a direction."""
    try:
        load_direction(path)
    except VaekitError:
        return False
    return True


def last_path(paths: Sequence[Path], options: DirectionOptions) -> str | None:
    """The class of the last one of two paths, which the direction leads to."""
    by_path = len(paths) == 2 and options.label is None and options.property is None
    return path_names(paths)[-1] if by_path else None


def other_targets(labels: dict[str, Sequence[str | None]]) -> list[Target]:
    """The targets of other labels, whose side effects are measured."""
    targets = [target for name, column in labels.items() for target in every_target(name, column)]
    return targets[:MOST_SIDE_EFFECTS]


def probe_of_shape(path: Path, file: DirectionFile, shape: tuple[int, ...], kind: str) -> Tensor:
    """The probe of another direction for latents of a shape, as a vector: averaged over positions (z), or whole.

    Raises:
        BadPlan: it has other positions, or is of another kind.
    """
    if file.direction.kind != kind:
        raise BadPlan(
            f"{path} is a direction of the kind {file.direction.kind}, and the new one is of the kind {kind}.",
            "Expected the same kind: the others do not change what its probe reads.",
            "Leave it out.",
        )
    weights = file.probe.double()
    if weights.dim() == len(shape) and tuple(weights.shape) != shape:
        raise BadPlan(
            f"{path} is a direction for {list(weights.shape[1:])} positions of latents, and the data have "
            f"{list(shape[1:])}.",
            "Expected the same positions.",
            "Learn it again from data of this size.",
        )
    if weights.dim() > len(shape):
        weights = weights.flatten(1).sum(dim=1)  # the same change at every position
    elif weights.dim() < len(shape):
        weights = weights.view(-1, *[1] * (len(shape) - 1)).expand(shape) / prod(shape[1:])
    return weights.flatten()


def facts_of(result: DirectionResult) -> dict[str, Any]:
    """A result as JSON values, for the file of the direction."""
    return {name: value for name, value in asdict(result).items() if name not in ("file", "notes")}


def plain_options(options: DirectionOptions) -> dict[str, Any]:
    """Options as JSON values."""
    return {**asdict(options), "orthogonal_to": [str(path) for path in options.orthogonal_to]}

"""Edit items: move their latents along directions, and decode them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from vaekit.checkpoints.direction_files import DirectionFile, check_same_vae, load_direction
from vaekit.domains.files import FileResult
from vaekit.errors import BadItem, BadPlan, CannotWrite, VaekitError, counted
from vaekit.identification.file_hashes import sha256_of
from vaekit.latents.directions import Direction
from vaekit.tasks.batch import Batch, Progress, no_progress, output_paths, run_files, stem
from vaekit.tasks.model import OpenModel
from vaekit.tasks.options import LatentOptions
from vaekit.tasks.record import write_record

NAME = "edit"
"""The name of the record."""
MOST_STEPS = 100
"""Strengths of a direction."""
STRONGEST = 1000
"""Strength in standard deviations."""
Strengths = Sequence[float]
"""The strengths of one direction, in standard deviations of the latents along it."""


@dataclass(frozen=True)
class Edits:
    """The items that were written."""

    batch: Batch[FileResult]
    """The results of all files at all strengths."""
    strips: tuple[Path, ...]
    """For several strengths: files with the results for one input side by side, where the domain has images of them."""
    record: Path
    steps: tuple[tuple[float, ...], ...]
    """The strengths of each direction at each step."""
    step_of: Mapping[Path, tuple[float, ...]]
    """Output file -> the strengths of each direction."""
    directions: tuple[str, ...]
    """The names of the directions."""


def edit(
    model: OpenModel,
    paths: Sequence[Path],
    directions: Sequence[Path],
    strengths: Sequence[Strengths],
    out: Path,
    side_by_side: bool = False,
    progress: Progress = no_progress,
    pair: Sequence[Path] = (),
) -> Edits:
    """Move items along directions in latent space, and write them into a folder, with a record for repeating the call.

    With one strength for each direction, there is one output for each file, named as that of `reconstruct`; without
    any move it is the same. With several strengths for a direction, there is one for each of them.

    Args:
        model: the VAE.
        paths: files of items, or folders of them.
        directions: the files of one or more directions, written by `direction`.
        strengths: of each direction, in standard deviations. A single one holds for all steps.
        out: the folder; it is created with the first result.
        side_by_side: also write each original and its result beside each other.
        progress: called with the number of finished items and of all.
        pair: files with two items, A and B, for one more direction: from A to B, and strength 1 is all of the way. An
            item C is moved to what is to it as B is to A.

    Raises:
        BadItem: the pair is not one of two different items.
        NotFound, BadDirection: a file does not exist or is no direction.
        LatentMismatch: a direction is that of another VAE.
        BadPlan: the numbers of directions and strengths do not fit, or a strength is out of range.
        CannotWrite: a result would overwrite an input.
    """
    steps = steps_of(strengths, len(directions) + bool(pair))
    files = [load_direction(path) for path in directions]
    for path, file in zip(directions, files, strict=True):
        check_same_vae(path, file.space, model.origin)
    moves = [*(file.direction for file in files), *([difference(model, pair)] if pair else [])]
    inputs = list(dict.fromkeys(model.items.find(paths)))
    names = [step_name(step) for step in steps] if len(steps) > 1 else [""]
    outputs = [output_paths(inputs, out, f"{name}{model.domain.ending}", side_by_side) for name in names]
    batch: Batch[FileResult] = Batch()
    total = len(inputs) * len(steps)
    for number, (step, targets) in enumerate(zip(steps, outputs, strict=True)):
        change = partial(moved, moves, step)
        stages = model.items.reconstruct(targets, side_by_side, change)
        done = run_files(inputs, stages, partial(report, progress, number * len(inputs), total))
        batch.results += done.results
        batch.failures += [each for each in done.failures if each not in batch.failures]
        batch.not_started += done.not_started
        if done.not_started:
            break
    complete = {result.source for result in batch.results} - {Path(each.path) for each in batch.failures}
    strips = [
        path
        for source in inputs
        if len(steps) > 1 and source in complete and not batch.not_started
        for path in write_strip(model, [targets[source] for targets in outputs], source, out)
    ]
    record = write_record(out / f"{NAME}.json", record_of(model, inputs, directions, files, steps, pair))
    step_of = {target: step for step, targets in zip(steps, outputs, strict=True) for target in targets.values()}
    return Edits(batch, tuple(strips), record, steps, step_of, tuple(each.name for each in moves))


def difference(model: OpenModel, paths: Sequence[Path]) -> Direction:
    """The direction from one item to another. Its unit is all of the way.

    Args:
        model: the VAE.
        paths: files with two items together.

    Raises:
        NotFound, BadItem: there are not two items that can be read, or their latents are equal.
    """
    loaded = model.domain.read_all(model.items.find(paths), model.schema, model.engine.geometry)
    if len(loaded.x) != 2:
        raise BadItem(
            f"There are {counted(len(loaded.x), model.domain.item, model.domain.items)}.",
            "Expected two for an analogy.",
            "Name one to go from, and one to go to.",
        )
    start, end = model.encode(loaded, LatentOptions())
    length = float((end - start).norm())
    if not length:
        raise BadItem(
            f"{loaded.names[0]} and {loaded.names[1]} have the same latents.", "Expected two different ones.", ""
        )
    return Direction(f"from {loaded.names[0]} to {loaded.names[1]}", (end - start).cpu() / length, length)


def steps_of(strengths: Sequence[Strengths], directions: int) -> tuple[tuple[float, ...], ...]:
    """The strengths of all directions at each step.

    >>> steps_of([[-1, 0, 1], [2]], 2)
    ((-1.0, 2.0), (0.0, 2.0), (1.0, 2.0))

    Raises:
        BadPlan: the numbers of directions and strengths do not fit, or a strength is out of range.
    """
    if not directions or len(strengths) != directions or not all(strengths):
        raise BadPlan(
            f"There are {directions} directions and the strengths of {len(strengths)}.",
            "Expected one or more directions, and strengths for each of them.",
            "Give --strength once for each --direction, in the same order.",
        )
    strongest = max((abs(each) for own in strengths for each in own), key=lambda size: (size != size, size))
    if not strongest <= STRONGEST:
        raise BadPlan(f"A strength is {strongest:g} standard deviations.", f"Expected at most {STRONGEST:,}.", "")
    counts = {len(own) for own in strengths} - {1}
    if len(counts) > 1:
        raise BadPlan(
            f"The directions have {' and '.join(map(str, sorted(counts)))} strengths.",
            "Expected the same number for each direction, or one.",
            "Give as many strengths for each direction.",
        )
    count = max(map(len, strengths))
    if count > MOST_STEPS:
        raise BadPlan(f"There are {count:,} strengths.", f"Expected at most {MOST_STEPS}.", "Use fewer.")
    return tuple(dict.fromkeys(tuple(float(own[i if len(own) > 1 else 0]) for own in strengths) for i in range(count)))


def step_name(step: Sequence[float]) -> str:
    """The part of a file name for strengths.

    >>> step_name((-1.5, 2.0))
    '.-1.5_+2'
    """
    return "." + "_".join(f"{strength + 0.0:+g}" for strength in step)


def moved(directions: Sequence[Direction], step: Sequence[float], z: Tensor) -> Tensor:
    """Latents (b, z, ...) moved along directions; bit-identical for strengths of 0.

    Raises:
        BadItem: a direction is a map for other positions.
    """
    for direction, strength in zip(directions, step, strict=True):
        positions = tuple(direction.vector.shape[1:])
        if positions and positions != tuple(z.shape[2:]):
            raise BadItem(
                f"Its latents have {list(z.shape[2:])} positions, and the direction {direction.name} "
                f"{list(positions)}.",
                "Expected an item in the size of those that the direction was learned from.",
                "Resize it, or learn a direction that is the same at all positions.",
            )
        if strength:
            z = direction.move(z, [strength])
    return z


def report(progress: Progress, before: int, total: int, done: int, _: int) -> None:
    """Report the progress of one step among several."""
    progress(before + done, total)


def write_strip(model: OpenModel, results: Sequence[Path], source: Path, out: Path) -> Sequence[Path]:
    """Write the first items of files side by side; nothing if the domain has no images of items."""
    try:
        loaded = model.domain.read_all(results, model.schema, model.engine.geometry, limit=1)
    except VaekitError:  # of sentences without a word, for example
        return []
    items = model.schema.to_items(loaded.x)
    if model.domain.preview(items) is None:
        return []
    try:
        write = model.domain.sequence_writer(model.schema, "webp")
    except CannotWrite:  # there are no animations of such items
        return []
    return write(items, out, f"{stem(source)}.strip")


def record_of(
    model: OpenModel,
    inputs: Sequence[Path],
    directions: Sequence[Path],
    files: Sequence[DirectionFile],
    steps: Sequence[Sequence[float]],
    pair: Sequence[Path],
) -> dict[str, Any]:
    """What is needed to repeat an edit."""
    return {
        "vae": model.identity,
        "items": [str(path) for path in inputs],
        "directions": [
            {"file": str(path), "sha256": sha256_of(path), "name": file.direction.name, "std": file.direction.std}
            for path, file in zip(directions, files, strict=True)
        ],
        "pair": [str(path) for path in pair],
        "steps": [list(step) for step in steps],
    }

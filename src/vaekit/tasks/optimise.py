"""Optimise items: walk in latent space towards more or less of a property, within bounds, and decode the results."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

from vaekit.distributions import expectation
from vaekit.domains.domain import LoadedItems
from vaekit.domains.files import side_by_side_path
from vaekit.domains.finite_results import check_finite
from vaekit.domains.record_files import skip_notes
from vaekit.errors import BadItem, BadPlan, counted, printable
from vaekit.json import plain
from vaekit.latents.paths import linear
from vaekit.pipeline import Stages
from vaekit.runtime.conversion import converted
from vaekit.runtime.item_sizes import cropped, repeat_edge
from vaekit.tasks.batch import Batch, Progress, no_progress, output_paths, run_files, stem
from vaekit.tasks.gradient_memory import items_at_once
from vaekit.tasks.judged_search import STEPS as JUDGED_STEPS
from vaekit.tasks.judged_search import JudgedSearch
from vaekit.tasks.kept_items import check_kept
from vaekit.tasks.latent_reference import LatentReference, references
from vaekit.tasks.latent_walk import CMA_ES, GRADIENT, Goal, Surroundings, Walk, WalkEnd
from vaekit.tasks.model import OpenModel
from vaekit.tasks.options import LatentOptions
from vaekit.tasks.property import property_of
from vaekit.tasks.record import write_record
from vaekit.vae import VAE, at_item_size, half_missing

NAME = "optimised"
"""The name of the record."""
AUTO = "auto"
METHODS = (AUTO, GRADIENT, CMA_ES)
STEPS, MOST_STEPS = 200, 100_000
"""By default, and at most."""
FARTHEST = 1000
"""Distance in standard deviations."""
MOST_PATHS = 100
"""Items of a file whose paths are written."""
AT_ONCE = 256
"""Items that are optimised at once."""
DISTANCE, DENSITY = "distance", "density"
"""The names of the constraints."""


@dataclass(frozen=True)
class OptimiseOptions:
    """What is optimised, within which bounds, and how."""

    property: str
    """Of items; see `property_of`. A leading minus sign minimises it."""
    minimise: bool = False
    target: float | None = None
    """The value to come close to, instead of the largest or smallest one."""
    within: float = 3.0
    """The maximum distance from the item in latent space, in standard deviations of the latents: over the channels of
    each position, and the root mean square over positions."""
    density: float = 0.01
    """The minimum density of a latent: that which this share of latents does not reach. An item that is less dense
    itself may stay so. 0 for no limit."""
    method: str = AUTO
    """"gradient" ascent, "cma-es", or "auto": gradients where the property has them. For properties that are measured
    of discrete items, the gradient is that of a regression on latents, and "auto" is both, one after the other."""
    steps: int | None = None
    """Of gradient ascent, or generations of CMA-ES; None for 200, or 60 where candidates are measured."""
    seed: int = 0
    """Of CMA-ES, and of the samples that densities are compared with."""
    data: Path | None = None
    """Data whose latents define standard deviations and densities; None for the prior of the VAE."""
    path: int | None = None
    """Also write this many items between each item and its result."""
    similarity: float | None = None
    """The minimum similarity of the result to the item, by the measure of the domain; None for no limit."""


@dataclass(frozen=True)
class OptimisedItem:
    """An item and what became of it. The property is measured of items as they are written, never of latents."""

    name: str
    before: float
    """The property of the item."""
    reconstruction: float
    """Of the item, encoded and decoded: where the walk started."""
    after: float
    """Of the result."""
    confirmed: float
    """Of the result, encoded and decoded again: close to `after` if the VAE takes the result for what it is."""
    moved: float
    """The distance in latent space, in standard deviations."""
    active: tuple[str, ...]
    """The constraints that the result has reached, of "distance" and "density"."""
    similarity: float | None = None
    """Of the result to the item; None where the domain has no measure, or nothing was judged."""
    original: str | None = None
    """The item as text, where items of the domain can be compared."""
    result: str | None = None
    """The result as text."""

    @property
    def unchanged(self) -> bool:
        """Whether the result is the item itself, because no candidate was better."""
        return self.result is not None and self.result == self.original


@dataclass(frozen=True)
class OptimisedFile:
    """One file of items."""

    file: Path
    output: Path
    side_by_side: Path | None
    paths: tuple[Path, ...]
    """Files with the items between the start and the result."""
    items: tuple[OptimisedItem, ...]
    reference: str
    """The distribution of latents that distances and densities refer to, a phrase."""
    notes: tuple[str, ...]

    @property
    def source(self) -> Path:
        """The file that was read."""
        return self.file

    def cells(self) -> dict[str, str]:
        """One row of a table."""
        return {"file": self.file.name, "items": f"{len(self.items):,}"}


@dataclass(frozen=True)
class Optimised:
    """The items that were written."""

    batch: Batch[OptimisedFile]
    record: Path
    property: str
    goal: str
    """A phrase: "as high as possible"."""
    method: str
    similarity: str | None = None
    """The name of the measure of similarity, if results have one."""
    estimate: str | None = None
    """What the regression of the property on latents was fitted to, and how well it predicts; None without one."""
    notes: tuple[str, ...] = ()


def optimise(
    model: OpenModel,
    paths: Sequence[Path],
    out: Path,
    options: OptimiseOptions,
    side_by_side: bool = False,
    progress: Progress = no_progress,
) -> Optimised:
    """Optimise a property of items, and write the results into a folder, with a record for repeating the call.

    There is one output for each file, named as that of `reconstruct`.

    Args:
        model: the VAE.
        paths: files of items, or folders of them.
        out: the folder; it is created with the first result.
        options: what is optimised, within which bounds, and how.
        side_by_side: also write each original and its result beside each other.
        progress: called with the number of finished steps and of all, over all files.

    Raises:
        NotFound: a file does not exist, or there is no such property.
        BadPlan: an option has a value that does not exist, or the property has no gradient.
        HalfMissing: the VAE has no encoder or no decoder.
        CannotWrite: a result would overwrite an input.
    """
    goal = goal_of(model, options)
    search = search_of(model, goal, options, progress)
    inputs = list(dict.fromkeys(model.items.find(paths)))
    outputs = output_paths(inputs, out, model.domain.ending, side_by_side)
    reference = references(model, options.data, options.seed, progress)
    run = Optimisation(model, goal, search, options, reference, outputs, side_by_side, progress)
    stages = Stages(
        lambda path: model.domain.read(path, model.schema),
        run.file,
        lambda _, done: done,
        lambda loaded: loaded.x.numel(),
    )
    batch = run_files(inputs, stages)
    record = {
        "vae": model.identity,
        "files": [str(path) for path in inputs],
        **asdict(options),
        "data": None if options.data is None else str(options.data),
        "function": None if goal.wanted.function is None else goal.wanted.function.digest,
        "goal": str(goal),
        "method": run.method,
        "estimate": None if search is None or search.estimate is None else search.estimate.quality,
        "results": plain(
            [{"file": str(each.file), "reference": each.reference, "items": each.items} for each in batch.results]
        ),
    }
    written = write_record(out / f"{NAME}.json", record)
    return Optimised(
        batch,
        written,
        goal.wanted.name,
        str(goal),
        run.method,
        None if search is None or search.measure_of_similarity is None else search.measure_of_similarity.name,
        None if search is None or search.estimate is None else f"{search.estimate.source}: {search.estimate.quality}",
        () if search is None else tuple(search.notes),
    )


def search_of(model: OpenModel, goal: Goal, options: OptimiseOptions, progress: Progress) -> JudgedSearch | None:
    """The search that decodes and judges candidates, where it is needed: for properties without a gradient of discrete
    items, for estimates from labels, and with a minimum similarity. None for others.

    Raises:
        BadPlan, NotFound, NoTrainingData, BadItem: see `JudgedSearch.check`.
    """
    discrete = not model.schema.example().is_floating_point()
    judged = goal.wanted.gradient is None and (discrete or goal.wanted.column is not None)
    if not judged and options.similarity is None:
        return None
    search = JudgedSearch(model, goal, options.data, options.seed, options.similarity, progress)
    search.check()
    return search


def goal_of(model: OpenModel, options: OptimiseOptions) -> Goal:
    """Check options, and find the property.

    Raises:
        BadPlan, NotFound, HalfMissing: see `optimise`.
    """
    for half, other in (("encoder", "decoder"), ("decoder", "encoder")):
        if getattr(model.engine.vae, half) is None:
            raise half_missing(half, other)
    if options.method not in METHODS:
        raise BadPlan(f"There is no method {printable(repr(options.method))}.", f"Expected {', '.join(METHODS)}.", "")
    if options.steps is not None and not 1 <= options.steps <= MOST_STEPS:
        raise BadPlan(f"There are {options.steps:,} steps.", f"Expected 1 to {MOST_STEPS:,}.", "")
    if not 0 < options.within <= FARTHEST:
        raise BadPlan(
            f"The distance is {options.within:g} standard deviations.", f"Expected more than 0, up to {FARTHEST:,}.", ""
        )
    if not 0 <= options.density < 1:
        raise BadPlan(f"The density is {options.density:g}.", "Expected a share from 0 to below 1.", "0 is no limit.")
    if options.path is not None and not 0 <= options.path <= MOST_STEPS:
        raise BadPlan(f"There are {options.path:,} items in a path.", f"Expected 0 to {MOST_STEPS:,}.", "")
    name = options.property.removeprefix("-")
    minimise = options.minimise or name != options.property
    if options.target is not None and (minimise or not math.isfinite(options.target)):
        found = "minimised and has a target" if minimise else f"to come close to {options.target:g}"
        raise BadPlan(f"The property {printable(name)} is {found}.", "Expected a finite target, or none.", "")
    found_property = property_of(model.domain, model.schema, name, options.data)
    continuous = model.schema.example().is_floating_point()
    if options.method == GRADIENT and found_property.function is not None and continuous:
        raise BadPlan(
            f"The function {name} has no gradient.", f"Expected the method {CMA_ES} for it.", "Leave out --method."
        )
    return Goal(found_property, -1 if minimise else 1, options.target)


@dataclass(frozen=True, eq=False)
class Found:
    """What a search found for the items of a file."""

    end: WalkEnd
    x: Tensor
    """The results as the VAE returns them, (b, ...)."""
    measure: Callable[[Tensor], Tensor]
    """Items (b, ...), as a VAE takes them -> values of the property (b,)."""
    similarities: Sequence[float | None]
    notes: Sequence[str] = ()


@dataclass(eq=False)
class Optimisation:
    """The optimisation of files, one after the other."""

    model: OpenModel
    goal: Goal
    search: JudgedSearch | None
    """None for a search whose candidates have gradients, or are not compared with the original."""
    options: OptimiseOptions
    reference: Callable[[tuple[int, ...]], LatentReference]
    outputs: Mapping[Path, Path]
    side_by_side: bool
    progress: Progress
    started: int = 0

    @property
    def method(self) -> str:
        """The method that is used."""
        if self.search is not None:
            return self.search.method(self.options.method)
        if self.options.method != AUTO:
            return self.options.method
        return CMA_ES if self.goal.wanted.gradient is None else GRADIENT

    @property
    def steps(self) -> int:
        """The number of steps of each search."""
        return self.options.steps or (STEPS if self.search is None else JUDGED_STEPS)

    @cached_property
    def vae(self) -> VAE:
        """The VAE in single precision, for gradients."""
        engine = self.model.engine
        return converted(engine.vae, engine.plan.torch_device, torch.float32, torch.float32)

    def file(self, path: Path, loaded: LoadedItems) -> OptimisedFile:
        """Optimise the items of a file, write them, and measure what was written."""
        before, self.started = self.started * self.steps, self.started + 1
        self._check_paths(path, loaded)
        starts = self.model.encode(loaded, LatentOptions())
        check_finite(starts, self.model.engine)
        at_once = AT_ONCE
        if self.search is None and self.method == GRADIENT:
            at_once = items_at_once(self.model.engine, self.vae, starts, AT_ONCE)
        parts, found = starts.split(at_once), []
        for number, (part, x) in enumerate(zip(parts, loaded.x.split(at_once), strict=True)):

            def after(step: int, number: int = number) -> None:
                share = (number * self.steps + step) // len(parts)
                self.progress(before + share, len(self.outputs) * self.steps)

            found.append(self._found(part, x, after))
        return self._written(path, loaded, starts, joined(found))

    def _found(self, z: Tensor, x: Tensor, after: Callable[[int], None]) -> Found:
        """Search from the latents (b, z, ...) of items (b, ...)."""
        size, options, reference = tuple(x.shape[2:]), self.options, self.reference(tuple(z.shape[1:]))
        least = reference.least_density(options.density, options.seed) if options.density else None
        around = Surroundings(z, reference, options.within, least)
        if self.search is not None:
            judge, end = self.search.run(around, x, size, options.method, self.steps, after)
            similarities = [best.similarity for best in judge.best]
            return Found(end, judge.items(), self.search.measured.values, similarities, self.search.notes_on(judge))
        decode = self._expected if self.method == GRADIENT else self._decoded
        measure = self.goal.wanted.of_tensors(self.model.schema)
        walk = Walk(around, self.goal, partial(decode, size=size), measure)
        end = walk.end(self.method, self.steps, options.seed, after)
        return Found(end, self.model.decode(end.z, size), measure, [None] * len(z))

    def _expected(self, z: Tensor, size: tuple[int, ...]) -> Tensor:
        """What is expected of items, differentiable."""
        geometry = self.model.engine.geometry
        padded = repeat_edge(z, tuple(max(geometry.least_positions, positions) for positions in z.shape[2:]))
        whole = expectation(self.vae.likelihood(padded.to(self.model.engine.plan.torch_device)))
        return cropped(at_item_size(whole, geometry), size).float().cpu()

    def _decoded(self, z: Tensor, size: tuple[int, ...]) -> Tensor:
        """Items; what is expected of them, if the property is one of the schema."""
        engine = self.model.engine
        if self.goal.wanted.gradient is not None:
            return expectation(engine.likelihood(z, size)).float().cpu()
        return engine.decode(z, size)

    def _check_paths(self, path: Path, loaded: LoadedItems) -> None:
        """Refuse paths with too many items for single files, or for memory."""
        if self.options.path is None:
            return
        count = len(loaded.x)
        if count > MOST_PATHS:
            raise BadItem(
                f"{path} has {counted(count, self.model.domain.item, self.model.domain.items)}.",
                f"Expected at most {MOST_PATHS} whose paths are written.",
                "Leave out --path, or give fewer.",
            )
        check_kept(self.model.engine, self.options.path + 2, loaded.x, self.model.domain.items)

    def _written(self, path: Path, loaded: LoadedItems, starts: Tensor, found: Found) -> OptimisedFile:
        """Write results, and measure them."""
        model, target, size = self.model, self.outputs[path], tuple(loaded.x.shape[2:])
        results, originals = model.schema.to_items(found.x), model.schema.to_items(loaded.x)
        model.domain.write(results, target, model.schema)
        pairs = side_by_side_path(target) if self.side_by_side else None
        if pairs is not None:
            model.domain.write_pairs(loaded.originals or originals, results, pairs, model.schema)
        result = self._as_written(target, at_item_size(found.x, model.engine.geometry))
        start = at_item_size(model.decode(starts, size), model.engine.geometry)
        stages = (loaded.x, start, result, model.engine.reconstruct(result))
        end = found.end
        active = [constraints(*each) for each in zip(end.far.tolist(), end.sparse.tolist(), strict=True)]
        rows = zip(
            loaded.names,
            *(found.measure(x).tolist() for x in stages),
            end.moved.tolist(),
            active,
            found.similarities,
            map(model.domain.text, originals),
            map(model.domain.text, results),
            strict=True,
        )
        notes = [f"{name}: {'; '.join(each)}" for name, each in loaded.notes.items() if each]
        return OptimisedFile(
            file=path,
            output=target,
            side_by_side=pairs,
            paths=tuple(self._write_paths(path, starts, end.z, size)),
            items=tuple(OptimisedItem(*row) for row in rows),
            reference=self.reference(tuple(starts.shape[1:])).name,
            notes=(*notes, *found.notes, *skip_notes(loaded, model.domain.items)),
        )

    def _as_written(self, target: Path, decoded: Tensor) -> Tensor:
        """Results as their file holds them; for properties that are measured of items, what is written."""
        if self.goal.wanted.gradient is None:
            return decoded
        written = self.model.domain.read(target, self.model.schema).x
        return written if written.shape == decoded.shape else decoded

    def _write_paths(self, path: Path, starts: Tensor, ends: Tensor, size: tuple[int, ...]) -> Iterator[Path]:
        """Write the items between each start and its end."""
        if self.options.path is None:
            return
        write, target = self.model.domain.sequence_writer(self.model.schema, None), self.outputs[path]
        t = torch.linspace(0, 1, self.options.path + 2)
        for number, (start, end) in enumerate(zip(starts, ends, strict=True), start=1):
            name = f"{stem(target)}.path" if len(starts) == 1 else f"{stem(target)}-{number:04d}.path"
            points = linear(start, end, t).split(1)
            items = (item for z in points for item in self.model.schema.to_items(self.model.decode(z, size)))
            yield from write(items, target.parent, name)


def constraints(far: bool, sparse: bool) -> tuple[str, ...]:
    """The names of the active constraints."""
    return (DISTANCE,) * far + (DENSITY,) * sparse


def joined(found: Sequence[Found]) -> Found:
    """The results of parts of a file in one."""
    ends = [each.end for each in found]
    end = WalkEnd(*(torch.cat([getattr(each, name) for each in ends]) for name in ("z", "moved", "far", "sparse")))
    similarities = [value for each in found for value in each.similarities]
    notes = [note for each in found for note in each.notes]
    return Found(end, torch.cat([each.x for each in found]), found[0].measure, similarities, notes)

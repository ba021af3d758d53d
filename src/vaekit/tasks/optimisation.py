"""Optimise the items of files: search, decode, write and measure."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

from vaekit.distributions import expectation
from vaekit.domains.domain import LoadedItems
from vaekit.domains.files import side_by_side_path
from vaekit.domains.finite_results import check_finite
from vaekit.domains.item_functions import Captions, ItemValues
from vaekit.domains.record_files import skip_notes
from vaekit.errors import BadItem, counted
from vaekit.latents.paths import linear
from vaekit.runtime.conversion import converted
from vaekit.runtime.item_sizes import cropped, repeat_edge
from vaekit.tasks.batch import Progress, stem
from vaekit.tasks.gradient_memory import items_at_once
from vaekit.tasks.judged_search import STEPS as JUDGED_STEPS
from vaekit.tasks.judged_search import JudgedSearch
from vaekit.tasks.kept_items import check_kept
from vaekit.tasks.latent_reference import LatentReference
from vaekit.tasks.latent_walk import CMA_ES, GRADIENT, Goal, Surroundings, Walk, WalkEnd
from vaekit.tasks.model import OpenModel
from vaekit.tasks.optimised import AUTO, OptimisedFile, OptimisedItem, OptimiseOptions
from vaekit.tasks.options import LatentOptions
from vaekit.vae import VAE, at_item_size

STEPS = 200
"""By default, where no candidates are judged."""
MOST_PATHS = 100
"""Items of a file whose paths are written."""
AT_ONCE = 256
"""Items that are optimised at once."""
DISTANCE, DENSITY = "distance", "density"
"""The names of the constraints."""


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
            notes = self.search.notes_on(judge)
            return Found(end, judge.items(), self.search.measured.values, judge.similarities(), notes)
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
        decoded = at_item_size(found.x, model.engine.geometry)
        before, after = (ItemValues(self.goal.wanted.name, found.measure(x).tolist()) for x in (loaded.x, decoded))
        model.domain.write(results, target, model.schema, Captions(loaded.titles, (after, *self._similar(found))))
        pairs = side_by_side_path(target) if self.side_by_side else None
        if pairs is not None:
            model.domain.write_pairs(loaded.originals or originals, results, pairs, model.schema, (before, after))
        result = self._as_written(target, decoded)
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
            loaded.titles or [""] * len(results),
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

    def _similar(self, found: Found) -> Iterator[ItemValues]:
        """The similarities of results to their items, where the domain has a measure and results were judged by it."""
        measure, values = self.model.domain.similarity, found.similarities
        if measure is not None and None not in values:
            yield ItemValues(measure.name, [math.nan if value is None else value for value in values])

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

"""Files of many small items, such as rows or sentences, through an engine."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from vaekit.checkpoints.latent_files import LatentFile, LatentOrigin, check_readable, load_latent, save_latent
from vaekit.distributions import Posterior
from vaekit.domains.domain import Domain, LoadedItems, Schema
from vaekit.domains.files import (
    ChangeLatents,
    DecodedResult,
    EncodedResult,
    FileResult,
    files_among,
    no_correction,
    side_by_side_path,
    unchanged,
)
from vaekit.domains.finite_results import check_finite
from vaekit.domains.item_functions import Captions
from vaekit.errors import printable
from vaekit.evaluation.measures import ItemMeasure, PooledMeasure, Result
from vaekit.evaluation.vae_pass import EngineRunner, VAEPass
from vaekit.pipeline import Stages
from vaekit.runtime.engine import Engine

SHOWN_PARTS = 3
"""Parts of items whose errors are part of a note."""
SHOWN_REASONS = 10
"""Skipped items of a file whose reasons are part of its note."""


@dataclass(frozen=True)
class ReconstructedFile:
    """A file whose items were encoded and decoded."""

    file: Path
    output: Path
    items: int
    """The number of encoded items."""
    latent_shape: tuple[int, ...]
    """Channels and positions of one item."""
    skipped: Mapping[str, str]
    """Name to reason, for items that cannot be read."""
    notes: tuple[str, ...]
    """The same on one line, of the first ones."""
    side_by_side: Path | None
    measures: Mapping[str, float]
    """Means over the items, by name of the measure."""
    texts: Mapping[str, str]
    """The same for people: title to number with unit."""
    seconds: float
    """Encode and decode, without reading and writing."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Errors of single parts of items, such as columns, by name; the worst first."""

    @property
    def source(self) -> Path:
        """The file that was read."""
        return self.file

    def cells(self) -> dict[str, str]:
        """One row of a table."""
        latent = "x".join(map(str, self.latent_shape))
        row = {"file": self.file.name, "items": f"{self.items:,}", "latent": latent}
        return {**row, **self.texts, "time": f"{self.seconds:.2f} s"}


@dataclass(frozen=True)
class EncodedFile(EncodedResult):
    """A file whose items were encoded into one latent file."""

    file: Path
    items: int
    """The number of encoded items."""
    skipped: Mapping[str, str]
    """Name to reason, for items that cannot be read."""

    @property
    def source(self) -> Path:
        """The file that was read."""
        return self.file

    def cells(self) -> dict[str, str]:
        """One row of a table."""
        return {"file": self.output.name, "items": f"{self.items:,}", **self.latent_cells()}


@dataclass(frozen=True)
class DecodedFile(DecodedResult):
    """A latent file that was decoded into a file of items."""

    items: int

    def cells(self) -> dict[str, str]:
        """One row of a table."""
        return {"file": self.output.name, "items": f"{self.items:,}"}


@dataclass(frozen=True, eq=False)
class ChangingRunner(EngineRunner):
    """An engine that decodes changed latents."""

    change: ChangeLatents

    def decode(self, z: Tensor, like: Tensor) -> Tensor:
        return super().decode(self.change(z), like)


@dataclass(frozen=True, eq=False)
class RecordFiles:
    """Files of one domain and the engine that they go through; see `ItemFiles`."""

    domain: Domain
    engine: Engine
    schema: Schema
    measure: ItemMeasure
    """Of items and their reconstructions."""
    parts: PooledMeasure | None = None
    """Of single parts of them, such as columns."""
    placeholder: Callable[[Any], Any] | None = None
    """What is written in place of an item that cannot be read; see `InMemoryDomain`."""
    files: ClassVar[str] = "files"
    correction: ClassVar[None] = None

    def corrected(self, name: str, models: Sequence[Path] | None) -> "RecordFiles":
        """There is no correction of such items.

        Raises:
            BadCorrection: always.
        """
        raise no_correction(name, self.domain.items)

    def find(self, paths: Sequence[Path]) -> list[Path]:
        return files_among(paths, self.domain.suffixes, self.domain.items)

    def size(self, path: Path) -> tuple[int, ...]:
        """Every item has the same size, so the file is not read."""
        del path
        return self.engine.geometry.size or ()

    def reconstruct(
        self, outputs: Mapping[Path, Path], side_by_side: bool, change: ChangeLatents = unchanged
    ) -> Stages[Path, Any, Any, FileResult]:
        def run(_: Path, loaded: LoadedItems) -> tuple[LoadedItems, VAEPass, float]:
            started = time.perf_counter()
            runner = ChangingRunner(self.engine, change)
            passed = VAEPass(tuple(loaded.names), loaded.x, runner, seed=0, sampled=False)
            assert len(passed.result) == len(loaded.x)  # computed here, once
            return loaded, passed, time.perf_counter() - started

        def write(path: Path, ran: tuple[LoadedItems, VAEPass, float]) -> ReconstructedFile:
            loaded, passed, seconds = ran
            check_finite(passed.result, self.engine)
            items, target = self.schema.to_items(passed.result), outputs[path]
            originals, results, titles = self.in_order(loaded, items)
            self.domain.write(results, target, self.schema, Captions(titles))
            pairs = side_by_side_path(target) if side_by_side else None
            if pairs is not None:
                self.domain.write_pairs(originals, results, pairs, self.schema)
            parts = part_results(self.parts, passed)
            values = {name: float(each.nanmean()) for name, each in self.measure.compute(passed).items()}
            return ReconstructedFile(
                file=path,
                output=target,
                side_by_side=pairs,
                items=len(items),
                latent_shape=tuple(passed.latents.shape[1:]),
                measures=values,
                parts={result.quantity.title: result.value for result in parts},
                texts={each.title: each.text(values[each.name]) for each in self.measure.quantities},
                seconds=seconds,
                skipped=loaded.skipped,
                notes=(
                    *all_notes(loaded, self.domain.items, "skipped" if self.placeholder is None else "kept in place"),
                    *worst_parts(parts),
                ),
            )

        return Stages(self.read, run, write, value_count)

    def in_order(
        self, loaded: LoadedItems, results: Sequence[Any]
    ) -> tuple[Sequence[Any], Sequence[Any], Sequence[str]]:
        """Originals, results and titles in the order of the file, with the items that cannot be read among them if they
        are kept."""
        others = loaded.unusable
        if self.placeholder is None or not others:
            return loaded.originals, results, loaded.titles
        titles = in_place(loaded.titles, dict.fromkeys(others, "")) if loaded.titles else ()
        placeholders = {place: self.placeholder(original) for place, original in others.items()}
        return in_place(loaded.originals, others), in_place(results, placeholders), titles

    def encode(self, origin: LatentOrigin, outputs: Mapping[Path, Path]) -> Stages[Path, Any, Any, FileResult]:
        def run(_: Path, loaded: LoadedItems) -> tuple[LoadedItems, Posterior]:
            return loaded, self.engine.encode(loaded.x)

        def write(path: Path, encoded: tuple[LoadedItems, Posterior]) -> EncodedFile:
            loaded, posterior = encoded
            check_finite(posterior.mode, self.engine)
            save_latent(outputs[path], LatentFile(posterior, origin, tuple(loaded.x.shape[2:])))
            mode = posterior.mode
            return EncodedFile(
                file=path,
                output=outputs[path],
                items=len(mode),
                latent_shape=tuple(mode.shape[1:]),
                mean=mode.mean().item(),
                std=mode.std(correction=0).item(),
                skipped=loaded.skipped,
                notes=all_notes(loaded, self.domain.items),
            )

        return Stages(self.read, run, write, value_count)

    def decode(self, origin: LatentOrigin, outputs: Mapping[Path, Path]) -> Stages[Path, Any, Any, FileResult]:
        def run(path: Path, latent: LatentFile) -> tuple[Tensor, str | None]:
            caution = check_readable(path, latent.space, origin)
            return self.engine.decode(latent.posterior.mean, latent.size), caution

        def write(path: Path, decoded: tuple[Tensor, str | None]) -> DecodedFile:
            check_finite(decoded[0], self.engine)
            items = self.schema.to_items(decoded[0])
            self.domain.write(items, outputs[path], self.schema)
            return DecodedFile(path, outputs[path], decoded[1], len(items))

        return Stages(load_latent, run, write, lambda latent: latent.posterior.mean.numel())

    def read(self, path: Path) -> LoadedItems:
        """The items of a file."""
        return self.domain.read(path, self.schema)


def in_place(items: Sequence[Any], others: Mapping[int, Any]) -> list[Any]:
    """Items with others at their positions among all.

    >>> in_place(["a", "c"], {1: "b"})
    ['a', 'b', 'c']
    """
    rest = iter(items)
    return [others[place] if place in others else next(rest) for place in range(len(items) + len(others))]


def value_count(loaded: LoadedItems) -> int:
    """The number of values in a file's items."""
    return loaded.x.numel()


def part_results(measure: PooledMeasure | None, vae_pass: VAEPass) -> Sequence[Result]:
    """The results for single parts of items; empty where these are not measured."""
    if measure is None:
        return ()
    pool = measure.pool()
    pool.add(measure.rows(vae_pass).float().cpu())
    return pool.result().results


def worst_parts(results: Sequence[Result]) -> tuple[str, ...]:
    """The worst of several parts, as a note."""
    if len(results) < 2:
        return ()
    shown = (f"{printable(each.quantity.title)} {each.quantity.text(each.value)}" for each in results[:SHOWN_PARTS])
    return (f"largest errors: {', '.join(shown)}",)


def all_notes(loaded: LoadedItems, items: str, outcome: str = "skipped") -> tuple[str, ...]:
    """How the file was read, and `skip_notes`."""
    return (*(note for notes in loaded.notes.values() for note in notes), *skip_notes(loaded, items, outcome))


def skip_notes(loaded: LoadedItems, items: str, outcome: str = "skipped") -> tuple[str, ...]:
    """How many items were skipped, and why the first ones were.

    Args:
        loaded: the items.
        items: plural noun for messages.
        outcome: what became of those that cannot be read.
    """
    if not loaded.skipped:
        return ()
    skipped = len(loaded.skipped)
    reasons = " ".join(list(loaded.skipped.values())[:SHOWN_REASONS])
    more = f" There are {skipped - SHOWN_REASONS:,} more." if skipped > SHOWN_REASONS else ""
    return (f"{outcome} {skipped:,} of {skipped + len(loaded.x):,} {items}: {reasons}{more}",)

"""Interpolate between items: encode them, walk between their latents, and decode every point."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from torch import Tensor

from vaekit.domains.domain import LoadedItems
from vaekit.errors import BadItem, BadPlan
from vaekit.latents.ghost import CROSS_FADE, ghost_index
from vaekit.latents.paths import PATHS, through
from vaekit.latents.paths import Path as LatentPath
from vaekit.tasks.batch import Progress, no_progress
from vaekit.tasks.kept_items import check_kept
from vaekit.tasks.model import OpenModel
from vaekit.tasks.options import LatentOptions
from vaekit.tasks.ordered_path import DENSITY, MOST_ORDERED, ordered_path
from vaekit.tasks.record import write_record

NAME = "interpolation"
"""The start of the names of files."""
MOST_STEPS = 10_000
"""Between two items."""
LEAST = 2
"""The minimum number of items."""


@dataclass(frozen=True)
class InterpolationOptions:
    """How items are interpolated."""

    steps: int = 7
    """Points between each two neighbors."""
    path: str = "linear"
    """The name of a path in `vaekit.latents.paths.PATHS`."""
    ordered: bool = False
    """Choose points whose items differ, and are ever less similar to the first; see `vaekit.tasks.ordered_path`."""
    animation: str | None = None
    """Format of the animation; None for the domain's default, if it has animations."""
    latents: LatentOptions = field(default_factory=LatentOptions)
    """Which latents of the items are the ends."""


@dataclass(frozen=True)
class Interpolation:
    """The written items."""

    files: tuple[Path, ...]
    ends: tuple[str, ...]
    """Names of the items."""
    items: int
    """The number of decoded items, ends included."""
    ghosts: tuple[float | None, ...]
    """The ghost index between each two neighbors, None for equal ones; empty for items without axes, such as rows, and
    for tokens."""
    notes: tuple[str, ...]
    """How items were changed before they were encoded."""
    texts: tuple[str, ...] = ()
    """The decoded items, where items are texts."""

    @property
    def cross_fades(self) -> bool:
        """Whether one item only fades into the next."""
        known = [ghost for ghost in self.ghosts if ghost is not None]
        return bool(known) and max(known) < CROSS_FADE


def interpolate(
    model: OpenModel,
    paths: Sequence[Path],
    out: Path,
    options: InterpolationOptions = InterpolationOptions(),
    progress: Progress = no_progress,
) -> Interpolation:
    """Interpolate between items and write the results into a folder, with a record for repeating the call.

    Args:
        model: the VAE.
        paths: files of two or more items together.
        out: the folder; it is created.
        options: the path and the number of its points.
        progress: called with the number of decoded items and of all.

    Raises:
        NotFound, BadItem: an item cannot be read, or there are fewer than two.
        BadPlan: there is no such path, there are too many steps, or items that are to be ordered have no measure of
            similarity.
        TooLittleMemory: the decoded items do not fit into memory.
        CannotWrite, MissingPackage: see `Domain.sequence_writer`.
    """
    path = PATHS.get(options.path)
    if path is None:
        raise BadPlan(f"There is no path {options.path!r}.", f"Expected {', '.join(PATHS)}.", "")
    if not 0 <= options.steps <= MOST_STEPS:
        raise BadPlan(f"There are {options.steps:,} steps.", f"Expected 0 to {MOST_STEPS:,}.", "Use fewer.")
    if options.ordered:
        check_ordered(model, options)
    write = model.domain.sequence_writer(model.schema, options.animation)
    files = model.items.find(paths)
    loaded = model.domain.read_all(files, model.schema, model.engine.geometry)
    if len(loaded.x) < LEAST:
        raise BadItem(
            f"There is only one {model.domain.item}: {loaded.names[0]}.", "Expected two or more.", "Name another one."
        )
    check_kept(model.engine, (len(loaded.x) - 1) * (options.steps + 1) + 1, loaded.x, model.domain.items)
    points = points_between(model, loaded, options, path, progress)
    ghosts = GhostMeter(options.steps + 1)

    texts: list[str] = []

    def items() -> Iterator[object]:
        for done, point in enumerate(points.split(1), start=1):
            decoded = model.decode(point, tuple(loaded.x.shape[2:]))
            ghosts.add(decoded)
            for item in model.schema.to_items(decoded):
                texts.extend([item] if model.domain.is_text else [])
                yield item
            progress(done, len(points))

    written = write(items(), out, NAME)
    record = {
        "vae": model.identity,
        "files": [str(file) for file in files],
        "ends": list(loaded.names),
        **asdict(options),
    }
    return Interpolation(
        files=(*written, write_record(out / f"{NAME}.json", record)),
        ends=tuple(loaded.names),
        items=len(points),
        ghosts=tuple(ghosts.indices),
        notes=tuple(f"{name}: {'; '.join(notes)}" for name, notes in loaded.notes.items() if notes),
        texts=tuple(texts),
    )


def check_ordered(model: OpenModel, options: InterpolationOptions) -> None:
    """Check that points can be chosen by their items.

    Raises:
        BadPlan: they cannot.
    """
    if model.domain.similarity is None:
        raise BadPlan(
            f"The {model.domain.items} of this VAE cannot be ordered: they have no measure of similarity.",
            "Expected a VAE of items that have one, such as sentences, molecules or music.",
            "Leave out --ordered.",
        )
    if options.steps > MOST_ORDERED:
        raise BadPlan(
            f"There are {options.steps:,} steps to order.", f"Expected at most {MOST_ORDERED} between two items.", ""
        )


def points_between(
    model: OpenModel,
    loaded: LoadedItems,
    options: InterpolationOptions,
    path: LatentPath,
    progress: Progress = no_progress,
) -> Tensor:
    """The points of the path through the latents of items, (n, z, ...)."""
    ends, similarity = model.encode(loaded, options.latents), model.domain.similarity
    if not options.ordered or similarity is None:
        return through(ends, options.steps, path)
    dense = through(ends, DENSITY * (options.steps + 1) - 1, path)
    size = tuple(loaded.x.shape[2:])

    def decode(point: Tensor) -> Sequence[Hashable]:
        return model.schema.to_items(model.decode(point, size))

    order = similarity.along_paths or similarity
    return ordered_path(dense, options.steps, decode, order, lambda done: progress(done, len(dense)))


@dataclass(eq=False)
class GhostMeter:
    """The ghost index of each part of a path, from its items one after the other."""

    stride: int
    """The distance between the ends of a part, in items."""
    indices: list[float | None] = field(default_factory=list)
    _count: int = 0
    _first: Tensor | None = None
    _middle: Tensor | None = None

    def add(self, decoded: Tensor) -> None:
        """The next item (1, ...); those without axes, such as rows, and tokens have no ghost index."""
        place, self._count = self._count % self.stride, self._count + 1
        if self.stride < LEAST or decoded.dim() == 2 or not decoded.is_floating_point():
            return
        if place == 0:
            if self._first is not None and self._middle is not None:
                position = self.stride // 2 / self.stride  # below 1/2 for an even number of points between the ends
                self.indices.append(ghost_index(self._first, self._middle, decoded, position))
            self._first = decoded
        if place == self.stride // 2:
            self._middle = decoded

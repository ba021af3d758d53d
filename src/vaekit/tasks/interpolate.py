"""Interpolate between items: encode them, walk between their latents, and decode every point."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from torch import Tensor

from vaekit.errors import BadItem, BadPlan
from vaekit.latents.ghost import CROSS_FADE, ghost_index
from vaekit.latents.paths import PATHS, through
from vaekit.tasks.batch import Progress, no_progress
from vaekit.tasks.model import OpenModel
from vaekit.tasks.options import LatentOptions
from vaekit.tasks.record import write_record

NAME = "interpolation"
"""The start of the names of files."""
MOST_STEPS = 10_000
"""Between two items; all decoded items are kept in memory."""
LEAST = 2
"""The minimum number of items."""


@dataclass(frozen=True)
class InterpolationOptions:
    """How items are interpolated."""

    steps: int = 7
    """Points between each two neighbors."""
    path: str = "linear"
    """The name of a path in `vaekit.latents.paths.PATHS`."""
    animation: str = "webp"
    """Format of the animation, where the domain has one."""
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
    ghosts: tuple[float, ...]
    """The ghost index between each two neighbors; empty for items without axes, such as rows, and for tokens."""
    notes: tuple[str, ...]
    """How items were changed before they were encoded."""

    @property
    def cross_fades(self) -> bool:
        """Whether one item only fades into the next."""
        return bool(self.ghosts) and max(self.ghosts) < CROSS_FADE


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
        BadPlan: there is no such path, or there are too many steps.
        CannotWrite, MissingPackage: see `Domain.sequence_writer`.
    """
    path = PATHS.get(options.path)
    if path is None:
        raise BadPlan(f"There is no path {options.path!r}.", f"Expected {', '.join(PATHS)}.", "")
    if not 0 <= options.steps <= MOST_STEPS:
        raise BadPlan(f"There are {options.steps:,} steps.", f"Expected 0 to {MOST_STEPS:,}.", "Use fewer.")
    write = model.domain.sequence_writer(model.schema, options.animation)
    loaded = model.domain.read_all(model.items.find(paths), model.schema, model.engine.geometry)
    if len(loaded.x) < LEAST:
        raise BadItem(
            f"There is only one {model.domain.item}: {loaded.names[0]}.", "Expected two or more.", "Name another one."
        )
    points = through(model.encode(loaded, options.latents), options.steps, path)
    decoded: list[Tensor] = []
    for done, point in enumerate(points.split(1), start=1):
        decoded.append(model.decode(point, tuple(loaded.x.shape[2:])))
        progress(done, len(points))
    items = [item for x in decoded for item in model.schema.to_items(x)]
    files = write(items, out, NAME)
    record = {"vae": model.identity, "ends": list(loaded.names), **asdict(options)}
    return Interpolation(
        files=(*files, write_record(out / f"{NAME}.json", record)),
        ends=tuple(loaded.names),
        items=len(items),
        ghosts=ghosts_of(decoded, options.steps + 1),
        notes=tuple(f"{name}: {'; '.join(notes)}" for name, notes in loaded.notes.items() if notes),
    )


def ghosts_of(decoded: Sequence[Tensor], stride: int) -> tuple[float, ...]:
    """The ghost index of each part of a path, whose ends are `stride` items apart."""
    if stride < LEAST or decoded[0].dim() == 2 or not decoded[0].is_floating_point():
        return ()
    starts = range(0, len(decoded) - stride, stride)
    indices = (ghost_index(decoded[i], decoded[i + stride // 2], decoded[i + stride]) for i in starts)
    return tuple(index for index in indices if index is not None)

"""Traverse the latent space from one item: move along directions, and decode every step."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from vaekit.errors import BadPlan
from vaekit.latents.directions import Direction, axis, principal_components, summarize
from vaekit.tasks.batch import Progress, no_progress
from vaekit.tasks.encoded_data import encoded
from vaekit.tasks.kept_items import check_kept
from vaekit.tasks.model import OpenModel
from vaekit.tasks.options import LatentOptions
from vaekit.tasks.record import write_record

NAME = "traversal"
"""The start of the names of files."""
MOST_STEPS = 1000
"""Items per direction."""
FARTHEST = 1000
"""Extent in standard deviations."""
DEFAULT_AXES = 10
"""The maximum number of axes if none is chosen."""


@dataclass(frozen=True)
class TraverseOptions:
    """Directions and steps."""

    axes: tuple[int, ...] = ()
    """Latent channels; without any, and without components, the first ones."""
    pca: int | None = None
    """The number of principal components of the latents of `data`."""
    data: Path | None = None
    """Data whose standard deviation along each direction is the unit of steps; None for that of N(0, I)."""
    steps: int = 7
    """Items per direction."""
    extent: float = 3.0
    """The distance of the last ones from the item, in standard deviations."""
    latents: LatentOptions = field(default_factory=LatentOptions)
    """Which latent of the item is moved."""


@dataclass(frozen=True)
class Traversal:
    """The written grid."""

    files: tuple[Path, ...]
    item: str
    directions: tuple[tuple[str, float], ...]
    """Name and standard deviation of each row."""
    distances: tuple[float, ...]
    """The distance of each column, in standard deviations."""
    notes: tuple[str, ...]
    """How the item was changed before it was encoded."""


def traverse(
    model: OpenModel,
    path: Path,
    out: Path,
    options: TraverseOptions = TraverseOptions(),
    progress: Progress = no_progress,
) -> Traversal:
    """Traverse the latent space from one item, and write a grid into a folder, with a record for repeating the call.

    Args:
        model: the VAE.
        path: the file of the item; the first one in it.
        out: the folder; it is created.
        options: directions and steps.
        progress: called with the number of encoded items of the data and of all, then with those of directions.

    Raises:
        NotFound, BadItem: the item or the data cannot be read.
        BadPlan: a direction does not exist, or steps or extent are out of range.
        TooLittleMemory: the decoded items do not fit into memory.
        CannotWrite: the disk is full, for example.
    """
    if not 1 <= options.steps <= MOST_STEPS:
        raise BadPlan(f"There are {options.steps:,} steps.", f"Expected 1 to {MOST_STEPS:,}.", "Use fewer.")
    if not 0 <= options.extent <= FARTHEST:
        raise BadPlan(f"The extent is {options.extent:g} standard deviations.", f"Expected 0 to {FARTHEST:,}.", "")
    file = model.items.find([path])[:1]
    loaded = model.domain.read_all(file, model.schema, model.engine.geometry, limit=1)
    directions = directions_of(model, options, progress)
    z = model.encode(loaded, options.latents)[:1]
    distances = torch.linspace(-options.extent, options.extent, options.steps).tolist() if options.steps > 1 else [0.0]
    check_kept(model.engine, len(directions) * options.steps, loaded.x, model.domain.items)

    def rows() -> Iterator[tuple[str, Sequence[object]]]:
        for done, direction in enumerate(directions, start=1):
            decoded = model.decode(direction.move(z, distances), tuple(loaded.x.shape[2:]))
            yield direction.name, model.schema.to_items(decoded)
            progress(done, len(directions))

    files = model.domain.write_grid(rows(), out, NAME, model.schema)
    record = {
        "vae": model.identity,
        "file": str(file[0]),
        "item": loaded.names[0],
        **asdict(options),
        "data": None if options.data is None else str(options.data),
        "directions": [{"name": each.name, "std": each.std, "vector": each.vector.tolist()} for each in directions],
    }
    return Traversal(
        files=(*files, write_record(out / f"{NAME}.json", record)),
        item=loaded.names[0],
        directions=tuple((each.name, each.std) for each in directions),
        distances=tuple(distances),
        notes=tuple(f"{name}: {'; '.join(notes)}" for name, notes in loaded.notes.items() if notes),
    )


def directions_of(model: OpenModel, options: TraverseOptions, progress: Progress = no_progress) -> list[Direction]:
    """The axes, then the components."""
    if options.pca is not None and options.data is None:
        raise BadPlan("Principal components need data.", "Expected --data.", "Name the data.")
    channels = model.engine.geometry.latent_channels
    summaries = None if options.data is None else encoded(model, options.data, summarize, progress)[0]
    axes = tuple(dict.fromkeys(options.axes)) or (range(min(channels, DEFAULT_AXES)) if options.pca is None else ())
    components = [] if options.pca is None or summaries is None else principal_components(summaries, options.pca)
    return [*(axis(channel, channels, summaries) for channel in axes), *components]

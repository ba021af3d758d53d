"""Compress items without loss by a VAE, and restore them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from vaekit.atomic import atomic_file
from vaekit.codec.archive import ArchiveHead, Group, Sizes, write_end, write_group, write_head
from vaekit.codec.chain import Chain, chain_of
from vaekit.codec.latents import NO_CELLS, latent_grid
from vaekit.datasets.skip_log import SkipLog
from vaekit.errors import NoTrainingData
from vaekit.tasks.batch import Progress, no_progress
from vaekit.tasks.lossless_groups import Taken, doubled, groups_of, items_within, lossless_items, open_whole
from vaekit.tasks.model import OpenModel
from vaekit.tasks.verify_compressed import verify_file

BATCHES, MOST_TOGETHER = 128, 32
"""Of a group, unless it has fewer items: the bits of the latents of one batch are lost. A batch has at most this many
items."""
NO_CHAIN = Chain(b"", 0.0)
SEEN, SEEN_VALUES = 256, 2**20
"""The maximum number of items whose posteriors determine the grid of latents, and of their values."""


@dataclass(frozen=True)
class Compressed:
    """A file that was written."""

    output: Path
    items: int
    coded: int
    """Items that the VAE codes; the others are in the file as they are."""
    values: int
    """Of all coded items, such as pixels and channels."""
    size: int
    """Bytes of the file."""
    parts: Sizes
    """Bytes of its parts."""
    initial_bits: int
    """Of the size: the latents with which bits-back coding starts, once for each group of items."""
    verified: bool = False
    """Whether it was decoded and compared with the items."""
    whole: Mapping[str, str] = field(default_factory=dict)
    """Name -> reason, for items that are stored as they are."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Name -> reason, for items that cannot be read, and are not in the file."""

    @property
    def bits_per_value(self) -> float:
        """Of what the VAE codes."""
        return 8 * self.parts.chain / self.values if self.values else 0.0


@dataclass
class Count:
    """What was written until now."""

    items: int = 0
    coded: int = 0
    values: int = 0
    initial_bits: float = 0.0
    sizes: list[Sizes] = field(default_factory=list)
    whole: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def add(self, group: Taken, values: int, initial_bits: float, sizes: Sizes | None) -> None:
        """A group, with the values of items that the VAE codes, its initial bits, and the sizes of its parts unless it
        has no items."""
        self.items += len(group.entries)
        self.coded += len(group.x)
        self.values += values
        self.initial_bits += initial_bits
        self.sizes += [] if sizes is None else [sizes]
        self.whole.update(group.whole)
        self.missing.update(group.missing)

    def result(self, output: Path, verified: bool) -> Compressed:
        """All of it."""
        chains, names, remainders = (
            sum(getattr(each, part) for each in self.sizes) for part in ("chain", "names", "remainders")
        )
        parts = Sizes(chains, names, remainders)
        size = output.stat().st_size
        initial = round(self.initial_bits)
        return Compressed(
            output, self.items, self.coded, self.values, size, parts, initial, verified, self.whole, self.missing
        )


def compress(
    model: OpenModel, data: Path, out: Path, log: SkipLog, progress: Progress = no_progress, verify: bool = False
) -> Compressed:
    """Compress all items of a data set into a file. Those that the VAE does not take are stored as they are.

    Args:
        model: the VAE.
        data: the items; both splits, if there are two.
        out: the file.
        log: for messages about the data.
        progress: called with the number of compressed items and of all.
        verify: also decode the file before it gets its name, and compare it with the items, which are read again.

    Raises:
        NotFound, NoTrainingData: there are no items that can be read.
        HalfMissing, BadPlan: the VAE has no such distributions.
        MissingPackage: constriction is not installed.
        CannotWrite: the disk is full, or the like.
        BadArchive: with `verify`, the file is not that of the items.
    """
    vae, lossless = doubled(model), lossless_items(model)
    dataset = open_whole(model, data, log)
    groups = groups_of(model, lossless, dataset)
    first = next(groups)
    if not first.entries:
        raise NoTrainingData(f"No item of {data} can be read.", "", next(iter(first.missing.values()), ""))
    seen = items_within(SEEN, SEEN_VALUES, model.schema.example())
    grid = latent_grid(vae, first.x[:seen]) if len(first.x) else NO_CELLS
    coding, count = lossless.coding(vae, grid), Count()
    with atomic_file(out) as temporary:
        with temporary.open("wb") as file:
            origin, grid_facts = model.origin, (grid.step, grid.first, grid.cells)
            write_head(
                file, ArchiveHead(model.domain.name, origin.fingerprint, origin.family, len(dataset), *grid_facts)
            )
            for group in chain([first], groups):
                coded = chain_of(coding, group.x, together(len(group.x))) if len(group.x) else NO_CHAIN
                sizes = write_group(file, Group(group.entries, coded.content)) if group.entries else None
                count.add(group, lossless.values(group.x), coded.initial_bits, sizes)
                progress(count.items + len(count.missing), len(dataset))
            write_end(file, count.items)
        if verify:
            verify_file(model, temporary, groups_of(model, lossless, dataset))
    return count.result(out, verify)


def together(items: int) -> int:
    """Items of a batch of a group."""
    return max(1, min(MOST_TOGETHER, items // BATCHES))

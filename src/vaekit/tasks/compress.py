"""Compress items without loss by a VAE, and restore them."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from vaekit.atomic import atomic_file
from vaekit.codec.archive import ArchiveHead, Entry, Group, Sizes, write_end, write_group, write_head
from vaekit.codec.chain import chain_bytes
from vaekit.codec.latent_cells import LatentGrid
from vaekit.codec.vae_coding import gaussian
from vaekit.datasets.dataset import Dataset, Record
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.whole import whole
from vaekit.domains.item_batches import open_items, tensors_at
from vaekit.domains.lossless import LosslessItems
from vaekit.errors import BadPlan, NoTrainingData, VaekitError
from vaekit.tasks.batch import Progress, no_progress
from vaekit.tasks.model import OpenModel
from vaekit.vae import VAE

GROUP = 4096
"""Items that are coded together."""
BATCHES, MOST_TOGETHER = 128, 32
"""Of a group, unless it has fewer items: the bits of the latents of one batch are lost. A batch has at most this many
items."""
SEEN = 256
"""Items whose posteriors determine the grid of latents."""


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
    sizes: list[Sizes] = field(default_factory=list)
    whole: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def add(self, group: "Taken", values: int, sizes: Sizes | None) -> None:
        """A group, with the values of items that the VAE codes, and the sizes of its parts unless it has no items."""
        self.items += len(group.entries)
        self.coded += len(group.x)
        self.values += values
        self.sizes += [] if sizes is None else [sizes]
        self.whole.update(group.whole)
        self.missing.update(group.missing)

    def result(self, output: Path) -> Compressed:
        """All of it."""
        chains, names, remainders = (
            sum(getattr(each, part) for each in self.sizes) for part in ("chain", "names", "remainders")
        )
        parts = Sizes(chains, names, remainders)
        size = output.stat().st_size
        return Compressed(output, self.items, self.coded, self.values, size, parts, self.whole, self.missing)


@dataclass(frozen=True, eq=False)
class Taken:
    """Items of a data set, before they are compressed."""

    entries: Sequence[Entry]
    x: Tensor
    """Those that the VAE codes, (b, ...)."""
    whole: Mapping[str, str]
    missing: Mapping[str, str]


def compress(model: OpenModel, data: Path, out: Path, log: SkipLog, progress: Progress = no_progress) -> Compressed:
    """Compress all items of a data set into a file. Those that the VAE does not take are stored as they are.

    Args:
        model: the VAE.
        data: the items; both splits, if there are two.
        out: the file.
        log: for messages about the data.
        progress: called with the number of compressed items and of all.

    Raises:
        NotFound, NoTrainingData: there are no items that can be read.
        HalfMissing, BadPlan: the VAE has no such distributions.
        MissingPackage: constriction is not installed.
        CannotWrite: the disk is full, or the like.
    """
    vae, lossless = doubled(model), lossless_items(model)
    dataset = whole(open_items(model.domain, data, log, model.schema))
    starts = range(0, len(dataset), GROUP)
    groups = (_take(model, lossless, dataset, range(start, min(start + GROUP, len(dataset)))) for start in starts)
    first = next(groups)
    if not first.entries:
        raise NoTrainingData(f"No item of {data} can be read.", "", next(iter(first.missing.values()), ""))
    grid = grid_of(vae, first.x[:SEEN]) if len(first.x) else LatentGrid(1.0, -1, 2)
    coding, count = lossless.coding(vae, grid), Count()
    with atomic_file(out) as temporary, temporary.open("wb") as file:
        origin, name = model.origin, model.domain.name
        grid_facts = (grid.step, grid.first, grid.cells)
        write_head(file, ArchiveHead(name, origin.fingerprint, origin.family, len(dataset), *grid_facts))
        for group in chain([first], groups):
            coded = chain_bytes(coding, group.x, together(len(group.x))) if len(group.x) else b""
            sizes = write_group(file, Group(group.entries, coded)) if group.entries else None
            count.add(group, lossless.values(group.x), sizes)
            progress(count.items + len(count.missing), len(dataset))
        write_end(file, count.items)
    return count.result(out)


def lossless_items(model: OpenModel) -> LosslessItems:
    """What is coded of the items of a VAE.

    Raises:
        BadPlan: its domain has no lossless compression.
    """
    found = model.domain.lossless(model.schema)
    if found is None:
        raise BadPlan(
            f"There is no lossless compression of {model.domain.items}.", "", "Compress them with a general program."
        )
    return found


def doubled(model: OpenModel) -> VAE:
    """The VAE in double precision, on the CPU, where results are the same up to rounding on every machine."""
    return copy.deepcopy(model.engine.vae).cpu().double().eval()


@torch.no_grad()
def grid_of(vae: VAE, x: Tensor) -> LatentGrid:
    """The grid of latents for items like these.

    Raises:
        BadPlan: see `gaussian`.
    """
    return LatentGrid.of(gaussian(vae, x))


def together(items: int) -> int:
    """Items of a batch of a group."""
    return max(1, min(MOST_TOGETHER, items // BATCHES))


def _take(model: OpenModel, lossless: LosslessItems, dataset: Dataset, numbers: range) -> Taken:
    """Read items, and see which of them the VAE codes."""
    records: dict[int, Record] = {}
    missing: dict[str, str] = {}
    for place, number in enumerate(numbers):
        try:
            records[place] = dataset.read(number)
        except VaekitError as error:
            missing[dataset.key(number)] = str(error)
    faults: dict[int, str] = {}
    x = tensors_at(records, model.schema, len(numbers), faults)
    usable, x = lossless.codable(x), lossless.canonical(x)
    items = model.schema.to_items(x)
    entries, kept, stored = [], [], dict[str, str]()
    for place, record in records.items():
        name, coded = dataset.key(numbers[place]), place not in faults and bool(usable[place])
        try:
            remainder = lossless.remainder(record, items[place] if coded else None)
            if coded and remainder and len(remainder) >= len(alone := lossless.remainder(record, None)):
                coded, remainder, faults[place] = False, alone, "it is not exactly what the VAE takes"
        except VaekitError as error:
            missing[name] = str(error)
            continue
        if not coded:
            stored[name] = faults.get(place, "it has values without a probability")
        kept += [place] if coded else []
        entries.append(Entry(name, coded, remainder))
    return Taken(entries, x[kept], stored, missing)

"""Items of a data set in groups, divided into what a VAE codes of them and what it does not."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from vaekit.codec.archive import Entry
from vaekit.datasets.dataset import Dataset, Record
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.whole import whole
from vaekit.domains.item_batches import open_items, tensors_at
from vaekit.domains.lossless import LosslessItems
from vaekit.errors import BadPlan, VaekitError
from vaekit.tasks.model import OpenModel
from vaekit.vae import VAE

GROUP, GROUP_VALUES = 4096, 2**25
"""The maximum number of items that are coded together, and of their values, unless there is one item."""


@dataclass(frozen=True, eq=False)
class Taken:
    """Items of a data set, before they are compressed."""

    entries: Sequence[Entry]
    x: Tensor
    """Those that the VAE codes, (b, ...)."""
    whole: Mapping[str, str]
    missing: Mapping[str, str]


def open_whole(model: OpenModel, data: Path, log: SkipLog) -> Dataset:
    """All items of a data set; both splits, if there are two.

    Raises:
        NotFound, NoTrainingData: there are none.
    """
    return whole(open_items(model.domain, data, log, model.schema))


def groups_of(model: OpenModel, lossless: LosslessItems, dataset: Dataset) -> Iterator[Taken]:
    """All items, `GROUP` at a time, or fewer if they are large."""
    count = items_within(GROUP, GROUP_VALUES, model.schema.example())
    for start in range(0, len(dataset), count):
        yield _take(model, lossless, dataset, range(start, min(start + count, len(dataset))))


def items_within(most: int, values: int, example: Tensor) -> int:
    """The number of items, at least one, with at most this number of values together.

    Args:
        most: items.
        values: of all of them.
        example: an item (1, ...).
    """
    return max(1, min(most, values // example.numel()))


def lossless_items(model: OpenModel) -> LosslessItems:
    """What is coded of the items of a VAE.

    Raises:
        BadPlan: its domain has no lossless compression.
    """
    found = model.domain.lossless(model.schema)
    if found is None:
        raise BadPlan(
            f"There is no lossless compression of {model.domain.items}.",
            "VAEs of them give items no probabilities of their own.",
            "Use a program for their format, such as FLAC for sounds.",
        )
    return found


def doubled(model: OpenModel) -> VAE:
    """The VAE in double precision, on the CPU, where results are the same up to rounding on every machine."""
    return copy.deepcopy(model.engine.vae).cpu().double().eval()


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

"""Encode labelled items: the latents of one or more data sets, with all of their labels."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from vaekit.datasets.choose import chosen_items
from vaekit.datasets.dataset import Dataset
from vaekit.datasets.labels import label_names, read_labels, usual_column
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.item_batches import open_items
from vaekit.errors import BadItem, VaekitError, counted, printable
from vaekit.latents.targets import LEAST_ITEMS
from vaekit.reading import real_path
from vaekit.tasks.batch import Progress, no_progress
from vaekit.tasks.computed_labels import computed_labels
from vaekit.tasks.encoded_data import as_it_is, encoded_records
from vaekit.tasks.model import OpenModel
from vaekit.tasks.options import SelectionOptions
from vaekit.tasks.property import Property

Reduce = Callable[[Tensor], Tensor]
"""Latents (b, z, ...) -> what directions are learned from."""
PATHS = "path"
"""The name of the label, if each path holds one class."""
EXAMPLES = 16
"""Items whose latents are kept as they are."""


@dataclass(frozen=True, eq=False)
class LabelledLatents:
    """The items of one or more paths, with all of their labels."""

    z: Tensor
    """Reduced latents: (n, z, ...)."""
    label: str
    labels: Sequence[str | None]
    """Of the items, for the direction."""
    positions: tuple[int, ...]
    """The positions of the latents before they were averaged."""
    examples: Tensor
    """The whole latents of a few of the items."""
    others: dict[str, Sequence[str | None]]
    """Other labels by column."""
    notes: tuple[str, ...]


def labelled_latents(
    model: OpenModel,
    paths: Sequence[Path],
    column: str | None,
    selection: SelectionOptions,
    reduce: Reduce,
    progress: Progress,
    computed: Property | None = None,
) -> LabelledLatents:
    """Encode the items of all paths that have a label.

    Args:
        model: the VAE.
        paths: a data set with labels; or several, each with the items of one class unless there is a column.
        column: of the label; None for the usual one, or for several paths their names.
        selection: of many items.
        reduce: applied to each batch of latents (b, z, ...), such as the mean over positions.
        progress: called with the number of encoded items and of all.
        computed: a property of items that is their label instead; items for which it is not finite have none.

    Raises:
        NotFound, NoTrainingData: data or labels cannot be read.
        BadItem: fewer than two items can be read.
    """
    log = SkipLog()
    data = [open_items(model.domain, path, log, model.schema).train for path in paths]
    if computed is None:
        names = path_names(paths)
        chosen = [each_label(dataset, name, column, len(paths)) for dataset, name in zip(data, names, strict=True)]
        label = column or (PATHS if len(paths) > 1 else usual_column(label_names(data[0])) or PATHS)
    else:
        chosen, label = [[computed.name] * len(dataset) for dataset in data], computed.name
    numbers = [numbers_of(dataset, labels, selection, len(paths)) for dataset, labels in zip(data, chosen, strict=True)]
    total, done = sum(map(len, numbers)), 0
    positions = model.engine.geometry.latent_size(model.schema.example().shape[2:])
    parts, labels, kept = [], [], []
    for path, dataset, own, wanted in zip(paths, data, chosen, numbers, strict=True):
        before = len(log.reasons)
        z, read = encoded_records(model, dataset, wanted, reduce, log, partial(later, progress, done, total))
        if wanted and not read:
            raise BadItem(
                f"None of {counted(len(wanted), model.domain.item, model.domain.items)} in {path} can be read.",
                f"Expected {model.domain.items} that this VAE takes.",
                next(islice(log.reasons.values(), before, None), "Give other data."),
            )
        done += len(wanted)
        kept.append(read)
        if read:
            parts.append(z)
        labels += [own[number] for number in read]
    if len(labels) < LEAST_ITEMS:
        raise BadItem(
            f"{len(labels)} of {counted(total, model.domain.item, model.domain.items)} with a label can be read.",
            f"Expected {LEAST_ITEMS} or more.",
            next(iter(log.reasons.values()), "Give more data."),
        )
    examples = [
        encoded_records(model, dataset, spread_out(read, -(-EXAMPLES // len(data))), as_it_is, log, no_progress)[0]
        for dataset, read in zip(data, kept, strict=True)
        if read
    ]
    others = other_labels(data, kept, label)
    if computed is not None:
        others |= computed_labels(model, computed, data, kept)
        labels = list(others.pop(label))
    missing = sum(label is None for own in (*chosen, labels) for label in own)
    without = f"{counted(missing, model.domain.item, model.domain.items)} {'has' if missing == 1 else 'have'} no label"
    notes = [without] if missing else []
    if log.reasons:
        notes.append(f"{len(log.reasons):,} skipped: {printable(next(iter(log.reasons.values())), 300)}")
    return LabelledLatents(
        z=torch.cat(parts),
        label=label,
        labels=labels,
        positions=positions,
        examples=torch.cat(examples),
        others=others,
        notes=tuple(notes),
    )


def path_names(paths: Sequence[Path]) -> list[str]:
    """The classes of several paths: their names, or whole paths where names are equal."""
    named = [path if path.name not in ("", "..") else real_path(path) for path in paths]
    names = [path.name if path.is_dir() else Path(path.name.removesuffix(".gz")).stem for path in named]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def each_label(dataset: Dataset, name: str, column: str | None, paths: int) -> Sequence[str | None]:
    """The labels of one of several data sets: that of its path, unless there is a column."""
    return [name] * len(dataset) if column is None and paths > 1 else read_labels(dataset, column)


def numbers_of(dataset: Dataset, labels: Sequence[str | None], selection: SelectionOptions, paths: int) -> list[int]:
    """The numbers of the records to encode: those with a label; of many, as many of each path."""
    numbers = range(len(dataset))
    if selection.limit is not None and selection.limit < len(dataset) * paths:
        numbers = chosen_items(dataset, min(len(dataset), -(-selection.limit // paths)), selection.seed).tolist()
    return [number for number in numbers if labels[number] is not None]


def spread_out(numbers: Sequence[int], count: int) -> list[int]:
    """At most `count` of some numbers, at equal distances.

    >>> spread_out(range(10), 3)
    [0, 3, 6]
    """
    return list(numbers)[:: max(1, len(numbers) // count)][:count]


def later(progress: Progress, before: int, total: int, done: int, _: int) -> None:
    """Report progress of one data set among several."""
    progress(before + done, total)


def other_labels(data: Sequence[Dataset], kept: Sequence[Sequence[int]], label: str) -> dict[str, Sequence[str | None]]:
    """All other columns of labels that all data sets have, of the records that were encoded."""
    columns = [label_names(dataset) for dataset in data]
    common = [name for name in columns[0] if name != label and all(name in names for names in columns[1:])]
    read: dict[str, Sequence[str | None]] = {}
    for name in common:
        with suppress(VaekitError):  # an array that holds no labels, for example
            every = [read_labels(dataset, name) for dataset in data]
            read[name] = [labels[i] for labels, numbers in zip(every, kept, strict=True) for i in numbers]
    return read

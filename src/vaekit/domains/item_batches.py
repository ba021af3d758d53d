"""Items of a data set batch by batch, in order, with the reasons for those that cannot be read."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from vaekit.datasets.dataset import Dataset, Record, Splits
from vaekit.datasets.labels import read_columns, read_labels
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.domain import DividesRecords, Domain, ItemBatch, ItemStream, Schema
from vaekit.errors import VaekitError


def open_items(domain: Domain, path: Path, log: SkipLog, schema: Schema) -> Splits:
    """The items at a path, as a VAE with this schema takes them; see `Domain.open`.

    Raises:
        NotFound, NoTrainingData: there are none.
    """
    splits = domain.open(path, log)
    return schema.divide(splits, log) if isinstance(schema, DividesRecords) else splits


def item_stream(
    splits: Splits,
    schema: Schema,
    size: int,
    label: str | None = None,
    train: bool = False,
    keep: Sequence[str] = (),
) -> ItemStream:
    """The items of a data set, prepared as the schema does; see `Domain.batches`.

    Raises:
        NotFound, NoTrainingData: there are no labels, or no such column.
    """
    dataset = splits.train if train or splits.test is None else splits.test
    labels = None if label is None else read_labels(dataset, label)
    kept = read_columns(dataset, keep)
    batches = batches_of(dataset, schema, size, labels, kept)
    return ItemStream(batches, len(dataset), frozenset(filter(None, labels or ())))


def batches_of(
    dataset: Dataset,
    schema: Schema,
    size: int,
    labels: Sequence[str | None] | None,
    kept: Mapping[str, Sequence[str]],
) -> Iterator[ItemBatch]:
    """Consecutive items, `size` at a time."""
    for start in range(0, len(dataset), size):
        numbers = range(start, min(start + size, len(dataset)))
        records: dict[int, Record] = {}
        problems: dict[int, str] = {}
        for place, number in enumerate(numbers):
            try:
                records[place] = dataset.read(number)
            except VaekitError as error:
                problems[place] = str(error)
        x = tensors_at(records, schema, len(numbers), problems)
        own = None if labels is None else labels[start : start + len(numbers)]
        others = {name: values[start : start + len(numbers)] for name, values in kept.items()}
        yield ItemBatch([dataset.key(number) for number in numbers], x, problems, own, others)


def tensors_at(records: dict[int, Record], schema: Schema, count: int, problems: dict[int, str]) -> Tensor:
    """Records as tensors at their places among `count` items; adds reasons for those that cannot be converted."""
    example = schema.example()
    x = example.expand(count, *example.shape[1:]).clone()
    try:
        if records:
            x[torch.tensor(list(records))] = schema.to_tensor(list(records.values()))
    except VaekitError:
        for place, record in records.items():
            try:
                x[place] = schema.to_tensor([record])[0]
            except VaekitError as error:
                problems[place] = str(error)
    return x

"""Records of a data set as tensors, a part of them at a time."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaekit.datasets.choose import split_held_out
from vaekit.datasets.dataset import Dataset, Record, Splits
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.domain import Schema
from vaekit.errors import BadItem, NotFound, NoTrainingData, printable
from vaekit.training.data import Source, Tensors, TrainingData, describe_data

AT_ONCE = 1024
"""Items that are converted together."""


def kept_records(splits: Splits, held_out: float | None, items: str) -> Iterator[Record]:
    """The records to train on; those that cannot be read are passed over."""
    kept, _ = split_held_out(splits, held_out, items)
    for number in kept:
        try:
            yield splits.train.read(int(number))
        except (BadItem, NotFound):
            continue


def without_columns(column: str, items: str) -> NoTrainingData:
    """The error for a recipe that names a column of data that are no table.

    Args:
        column: the name.
        items: plural noun for messages.
    """
    return NoTrainingData(
        f"data.column is {printable(repr(column))}, and the {items} are in files without columns.",
        "Expected a column only for tables.",
        "Leave data.column out, or give a table.",
    )


def training_tensors(splits: Splits, schema: Schema, held_out: float | None, items: str, log: SkipLog) -> TrainingData:
    """All items in memory.

    Args:
        splits: the data.
        schema: fitted to them.
        held_out: how many to hold out, see `split_held_out`.
        items: plural noun for messages.
        log: for items that cannot be read.

    Raises:
        NoTrainingData: no item can be trained on.
    """
    return split_data(splits, schema, held_out, items, log, lambda parts: Tensors(torch.cat(list(parts))))


def split_data(
    splits: Splits,
    schema: Schema,
    held_out: float | None,
    items: str,
    log: SkipLog,
    source: Callable[[Iterable[Tensor]], Source[Tensor]],
) -> TrainingData:
    """All items, with a source that is made of their batches; see `training_tensors`.

    Raises:
        NoTrainingData: no item can be trained on.
    """
    kept, apart = split_held_out(splits, held_out, items)
    train = source(tensors_of(splits.train, kept, schema, log))
    if not len(train):
        reason = next(iter(log.reasons.values()), "")
        raise NoTrainingData(f"Of the {items}, none of {len(kept):,} can be trained on.", reason, "")
    evaluated = tensor_of(splits.train if splits.test is None else splits.test, apart, schema, log)
    log.write()
    return TrainingData(train, evaluated if len(evaluated) else None, describe_data(splits, len(apart)))


def tensor_of(dataset: Dataset, numbers: NDArray[np.int64], schema: Schema, log: SkipLog) -> Tensor:
    """The items of these numbers that can be read, (n, ...)."""
    return torch.cat(list(tensors_of(dataset, numbers, schema, log)))


def tensors_of(dataset: Dataset, numbers: NDArray[np.int64], schema: Schema, log: SkipLog) -> Iterator[Tensor]:
    """The items of these numbers that can be read, in batches (b, ...), of which the first one is empty."""
    yield schema.example()[:0]
    for start in range(0, len(numbers), AT_ONCE):
        yield from batch_of(dataset, numbers[start : start + AT_ONCE].tolist(), schema, log)


def batch_of(dataset: Dataset, numbers: Sequence[int], schema: Schema, log: SkipLog) -> list[Tensor]:
    """The items of these numbers that can be read, as tensors (b, ...): converted together, or, if one of them cannot
    be read, one by one."""
    try:
        return [schema.to_tensor([dataset.read(number) for number in numbers])]
    except (BadItem, NotFound) as error:
        if len(numbers) == 1:
            log.note(dataset.key(numbers[0]), str(error))
            return []
    return [part for number in numbers for part in batch_of(dataset, [number], schema, log)]

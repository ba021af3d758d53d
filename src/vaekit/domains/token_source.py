"""Training data of token sequences, stored in the smallest type that holds their numbers."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaekit.datasets.dataset import Splits
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.domain import Schema
from vaekit.domains.record_tensors import split_data
from vaekit.training.data import TrainingData


@dataclass(frozen=True, eq=False)
class Tokens:
    """Sequences of tokens as a source of training data, which gives them as integers of 64 bits."""

    stored: NDArray[Any]
    """(n, length) of any integer type, in memory or mapped from a file."""

    def __len__(self) -> int:
        return len(self.stored)

    def batch(self, items: Tensor, seed: int) -> Tensor:
        del seed
        return torch.from_numpy(self.stored[items.numpy()].astype(np.int64))


def small_type(vocabulary: int) -> np.dtype[Any]:
    """The smallest integer type for the numbers below `vocabulary`.

    >>> small_type(256), small_type(257), small_type(2**16 + 1)
    (dtype('uint8'), dtype('uint16'), dtype('uint32'))
    """
    return np.min_scalar_type(max(vocabulary - 1, 0))


def stored(parts: Iterable[Tensor], length: int, vocabulary: int) -> NDArray[Any]:
    """Batches of sequences (b, length) as one array; each is stored before the next one is made."""
    kind = small_type(vocabulary)
    small = [np.empty((0, length), kind), *(part.numpy().astype(kind) for part in parts)]
    return np.concatenate(small)


def token_training_data(
    splits: Splits, schema: Schema, vocabulary: int, held_out: float | None, items: str, log: SkipLog
) -> TrainingData:
    """All sequences in memory, in a small type; see `record_tensors.training_tensors`.

    Raises:
        NoTrainingData: no sequence can be trained on.
    """
    length = schema.example().shape[1]
    data = split_data(splits, schema, held_out, items, log, lambda parts: Tokens(stored(parts, length, vocabulary)))
    if log.reasons:
        log.say(f"Skipped {len(log.reasons):,} of {len(splits.train):,} {items}.")
    return data

"""Choose some of many items by hashes of their names: the same ones for everybody, however the items are sorted."""

import hashlib
import heapq

import numpy as np
from numpy.typing import NDArray

from vaekit.datasets.dataset import Dataset, Splits
from vaekit.errors import NoTrainingData

HELD_OUT = 256
"""The maximum number of held-out items, where nobody asks for another."""
HELD_OUT_SHARE = 0.05


def rank(name: str, seed: int) -> bytes:
    """The hash of a name with the seed, by which some are chosen. Names of files may be any bytes, not only UTF-8."""
    return hashlib.sha256(f"{seed}\n{name}".encode("utf-8", "surrogateescape")).digest()


def chosen_items(dataset: Dataset, count: int) -> NDArray[np.int64]:
    """The numbers of `count` records, ordered by key: those whose keys have the smallest hashes, the same for every
    seed and recipe."""
    numbers = heapq.nsmallest(count, range(len(dataset)), key=lambda item: rank(dataset.key(item), 0))
    return np.array(sorted(numbers, key=dataset.key), np.int64)


def split_held_out(splits: Splits, wanted: float | None, items: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The numbers of the records to train on, and of those to hold out (in the test split, if there is one).

    Args:
        splits: the data.
        wanted: how many to hold out, or below 1 which share; None for one in twenty, at most 256.
        items: plural noun for messages.

    Raises:
        NoTrainingData: none is left to train on.
    """
    everything, candidates = np.arange(len(splits.train)), splits.train if splits.test is None else splits.test
    total = len(candidates)
    if wanted is None:
        count = HELD_OUT if splits.test is not None else min(HELD_OUT, int(HELD_OUT_SHARE * total))
    else:
        count = int(wanted * total) if wanted < 1 else int(wanted)
    apart = chosen_items(candidates, count)
    if splits.test is not None:
        return everything, apart
    if count >= total and count:
        raise NoTrainingData(
            f"With {count:,} of {total:,} {items} held out, none is left to train on.",
            "",
            f"Give more {items}, or a lower held_out.",
        )
    return np.setdiff1d(everything, apart), apart

"""Choose random subsets of items by hashes of their names: reproducible, and independent of the order of items."""

import hashlib
import heapq

import numpy as np
from numpy.typing import NDArray

from vaekit.datasets.dataset import Dataset, Splits
from vaekit.errors import NoTrainingData

HELD_OUT = 256
"""The default maximum number of held-out items."""
HELD_OUT_SHARE = 0.05
"""The default share of held-out items."""


def rank(name: str, seed: int) -> bytes:
    """The hash of seed and name; the smallest ones are chosen. File names need not be valid UTF-8."""
    return hashlib.sha256(f"{seed}\n{name}".encode("utf-8", "surrogateescape")).digest()


def chosen_items(dataset: Dataset, count: int, seed: int = 0) -> NDArray[np.int64]:
    """The indices of `count` records, sorted by key: those whose keys have the smallest hashes, independent of seed and
    recipe."""
    indices = heapq.nsmallest(count, range(len(dataset)), key=lambda item: rank(dataset.key(item), seed))
    return np.array(sorted(indices, key=dataset.key), np.int64)


def split_held_out(splits: Splits, wanted: float | None, items: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The indices of the records for training, and of the held-out ones (in the test split, if there is one).

    Args:
        splits: the data.
        wanted: the number of held-out items, or their share if below 1; None for 5 %, at most 256.
        items: the plural noun for items, for messages.

    Raises:
        NoTrainingData: no items are left for training.
    """
    all_items, candidates = np.arange(len(splits.train)), splits.train if splits.test is None else splits.test
    total = len(candidates)
    if wanted is None:
        count = HELD_OUT if splits.test is not None else min(HELD_OUT, int(HELD_OUT_SHARE * total))
    else:
        count = int(wanted * total) if wanted < 1 else int(wanted)
    held_out = chosen_items(candidates, count)
    if splits.test is not None:
        return all_items, held_out
    if count >= total and count:
        raise NoTrainingData(
            f"Of the {items}, {count:,} of {total:,} are held out, so that none are left for training.",
            "",
            f"Use more {items}, or a lower held_out.",
        )
    return np.setdiff1d(all_items, held_out), held_out

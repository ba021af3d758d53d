"""Measure an index: recall of its search, and precision by label beside simple baselines."""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vaekit.datasets.choose import rank
from vaekit.datasets.dataset import Dataset
from vaekit.errors import BadItem, BadPlan, MissingPackage, NotFound
from vaekit.records import from_dict
from vaekit.retrieval.embedding import Embedding
from vaekit.retrieval.index import Index, Match
from vaekit.retrieval.lance import FEWEST, BadTable, forget, open_lance, read_state, synchronize
from vaekit.retrieval.matrix import Vectors
from vaekit.retrieval.quality import NEIGHBORS, LabeledItems, compare_with_baselines
from vaekit.retrieval.update import Prepare

AUTO, EXACT, LANCEDB = "auto", "exact", "lancedb"
STORES = (AUTO, EXACT, LANCEDB)
QUERIES, GALLERY = 500, 2000
"""The maximum numbers of items for precision."""
QUERY_SHARE = 0.2
VALUES = 2**26
"""The maximum number of values of these items, which are in memory together."""
FEWEST_LABELLED = 2 * NEIGHBORS
"""The minimum number of items with a label for which precision is measured."""


@dataclass(frozen=True)
class Quality:
    """How well neighbors are found."""

    store: str
    """"exact" or "lancedb"."""
    recall: float
    """Recall@10 of the search against an exact scan; 1 if it is one."""
    precision: Mapping[str, float] = field(default_factory=dict)
    """Precision@10 by label: of the "embedding", of "pixels", "histogram" and "pca" as far as the items have them, and
    of a random order ("chance"). Empty without labels."""
    queries: int = 0
    """The number of items whose neighbors were looked at for precision."""
    remark: str = ""
    """Why another store is used than for indexes of this size."""

    @staticmethod
    def restored(plain: object) -> "Quality | None":
        """A stored quality; None if it is damaged."""
        try:
            quality: Quality = from_dict(Quality, plain)
        except (ValueError, TypeError):
            return None
        return quality if all(isinstance(value, float) for value in quality.precision.values()) else None


def measure(
    index: Index,
    store: str,
    embedding: Embedding,
    data: Dataset,
    labels: Sequence[str | None],
    prepare: Prepare,
) -> Quality:
    """Bring LanceDB's table up to date where it is used, and measure recall and precision.

    Raises:
        BadPlan: there is no such store.
        MissingPackage: LanceDB is required and not installed.
        CannotWriteHere: the disk is full, for example. The index itself is complete.
    """
    check_store(store)
    recall, used, remark = 1.0, EXACT, ""
    if store == LANCEDB or (store == AUTO and len(index) >= FEWEST):
        try:
            recall, used = synchronize(index).recall, LANCEDB
        except MissingPackage as error:
            if store == LANCEDB:
                raise
            remark = f"The index is searched by an exact scan: {error}"
    if used == EXACT:
        forget(index)
    precision, queries = precision_of(embedding, data, labels, prepare)
    return Quality(used, recall, precision, queries, remark)


def is_current(quality: Quality, index: Index) -> bool:
    """Whether a quality that was measured before is that of an unchanged index."""
    return quality.store != LANCEDB or read_state(index.folder) is not None


def check_store(store: str) -> None:
    """Check the name of a store.

    Raises:
        BadPlan: there is none of this name.
    """
    if store not in STORES:
        raise BadPlan(f"There is no store {store!r}.", f"Expected {', '.join(STORES)}.", "")


def neighbors_of(index: Index, query: Vectors, k: int) -> tuple[list[Match], str, str]:
    """The nearest neighbors of a vector, the name of the search, and a remark if it is not that of the index: LanceDB
    is not installed, or its table is damaged.

    Raises:
        BadIndex: the index is damaged.
    """
    remark = ""
    try:
        lance = open_lance(index)
        if lance is not None:
            return index.search(query, k, lance), lance.name, ""
    except (MissingPackage, BadTable) as error:
        remark = f"The index is searched by an exact scan. {error}"
    return index.search(query, k), EXACT, remark


def query_positions(data: Dataset, labels: Sequence[str | None]) -> list[int]:
    """The positions of labelled items that serve as queries for precision: those with the smallest hashes of their
    names. `meaning` is not trained on them."""
    labelled = [position for position, label in enumerate(labels) if label is not None]
    count = min(QUERIES, int(QUERY_SHARE * len(labelled)))
    return first_by_hash(data, labelled, count) if len(labelled) >= FEWEST_LABELLED else []


def first_by_hash(data: Dataset, positions: Sequence[int], count: int) -> list[int]:
    """Some of the positions, by the hashes of their names: independent of the order of the data."""
    return heapq.nsmallest(count, positions, key=lambda position: rank(data.key(position), 0))


def precision_of(
    embedding: Embedding, data: Dataset, labels: Sequence[str | None], prepare: Prepare
) -> tuple[dict[str, float], int]:
    """Precision@10 by label, and the number of queries; nothing without labels that two items share."""
    queries = query_positions(data, labels)
    asked = set(queries)
    others = [position for position, label in enumerate(labels) if label is not None and position not in asked]
    if len(set(filter(None, labels))) < 2 or not queries:
        return {}, 0
    gallery = labelled_items(data, labels, prepare, first_by_hash(data, others, GALLERY))
    wanted = labelled_items(data, labels, prepare, queries)
    if gallery is None or wanted is None or len(gallery.labels) <= NEIGHBORS:
        return {}, 0
    try:
        return dict(compare_with_baselines(embedding, gallery, wanted, NEIGHBORS)), len(wanted.labels)
    except BadItem:  # an item without a vector, which the index has skipped
        return {}, 0


def labelled_items(
    data: Dataset, labels: Sequence[str | None], prepare: Prepare, positions: Sequence[int]
) -> LabeledItems | None:
    """The items at positions that can be read, as many as fit into memory; None if there are none."""
    items = dict(readable(data, prepare, positions))
    kept = [label for position in items if (label := labels[position]) is not None]
    return LabeledItems(torch.cat(list(items.values())), kept) if items else None


def readable(data: Dataset, prepare: Prepare, positions: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
    """Positions with their items (1, ...), without those that cannot be read; no more than fit into memory together."""
    values = 0
    for position in positions:
        try:
            item = prepare([data.read(position)])
        except (BadItem, NotFound):
            continue
        values += item.numel()
        if values > VALUES:
            return
        yield position, item

"""Measure retrieval: recall of an approximate search, and precision by label beside simple baselines."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vaekit.retrieval.baselines import baselines_for
from vaekit.retrieval.embedding import Embedding
from vaekit.shapes import Items

NEIGHBORS = 10
"""k of recall@k and precision@k."""
CHUNK = 256
"""Queries, or items to embed, at a time."""
BLOCK = 16_384
"""Vectors of the gallery at a time."""
EMPTY = -1
"""The index of a neighbor where there are fewer than k."""

Neighbors = Int[Tensor, "q k"]
"""Indices of the nearest vectors of a gallery for each query, most similar first; -1 if there are fewer."""


@dataclass(frozen=True, eq=False)
class LabeledItems:
    """Items with labels."""

    x: Items
    """(n, ...), as the VAE takes them."""
    labels: Sequence[str]


def exact_neighbors(
    queries: Float[Tensor, "q d"],
    gallery: Float[Tensor, "n d"] | Iterable[Float[Tensor, "_ d"]],
    k: int = NEIGHBORS,
    own: Sequence[int] | None = None,
) -> Neighbors:
    """The k vectors of a gallery with the largest dot product with each query; the first of equal ones.

    Args:
        queries: unit vectors.
        gallery: unit vectors, or blocks of them in order: one block is in memory at a time.
        k: the number of neighbors.
        own: the index of each query in the gallery, which is left out (leave-one-out); None if none is in it.
    """
    blocks = gallery.split(BLOCK) if isinstance(gallery, Tensor) else gallery
    scores = queries.new_full((len(queries), k), -torch.inf)
    found = torch.full((len(queries), k), EMPTY)
    start = 0
    for block in blocks:
        for first in range(0, len(queries), CHUNK):
            part = slice(first, first + CHUNK)
            similar = queries[part] @ block.T
            if own is not None:
                places = torch.as_tensor(own[part]) - start
                rows = ((places >= 0) & (places < len(block))).nonzero().flatten()
                similar[rows, places[rows]] = -torch.inf
            numbers = torch.arange(start, start + len(block)).expand(len(similar), -1)
            merged = torch.cat([scores[part], similar], dim=1)
            order = merged.sort(dim=1, descending=True, stable=True).indices[:, :k]
            scores[part] = merged.gather(1, order)
            found[part] = torch.cat([found[part], numbers], dim=1).gather(1, order)
        start += len(block)
    return found.where(scores > -torch.inf, EMPTY)


def recall(approximate: Neighbors, exact: Neighbors) -> float:
    """Recall@k: the share of the exact neighbors that an approximate search returned, in any order.

    >>> recall(torch.tensor([[2, 0], [1, 5]]), torch.tensor([[0, 2], [1, 3]]))
    0.75
    """
    wanted = exact != EMPTY
    hits = (exact.unsqueeze(2) == approximate.unsqueeze(1)).any(dim=2) & wanted
    return hits.sum().item() / max(1, int(wanted.sum()))


def precision(neighbors: Neighbors, query_labels: Sequence[str], gallery_labels: Sequence[str]) -> float:
    """Precision@k: the share of neighbors with the label of their query.

    >>> precision(torch.tensor([[0, 1], [2, 1]]), ["cat", "dog"], ["cat", "dog", "dog"])
    0.75
    """
    numbers = {label: number for number, label in enumerate(dict.fromkeys([*query_labels, *gallery_labels]))}
    own = torch.tensor([numbers[label] for label in query_labels])
    known = torch.tensor([numbers[label] for label in gallery_labels])
    present = neighbors != EMPTY
    hits = (known[neighbors.clamp(min=0)] == own.unsqueeze(1)) & present
    return hits.sum().item() / max(1, int(present.sum()))


def label_precision(embedding: Embedding, gallery: LabeledItems, queries: LabeledItems, k: int = NEIGHBORS) -> float:
    """Precision@k of queries in a gallery of other items."""
    neighbors = exact_neighbors(embed(embedding, queries.x), embed(embedding, gallery.x), k)
    return precision(neighbors, queries.labels, gallery.labels)


def compare_with_baselines(
    embedding: Embedding, gallery: LabeledItems, queries: LabeledItems, k: int = NEIGHBORS
) -> Mapping[str, float]:
    """Precision@k of an embedding, of the baselines on the same items, and of a random order ("chance").

    Args:
        embedding: the embedding.
        gallery: the items to find; the principal components are fitted to them.
        queries: other items. For an embedding that was trained with labels, none that it was trained with.
        k: the number of neighbors.
    """
    named: dict[str, Embedding] = {"embedding": embedding, **baselines_for(gallery.x)}
    results = {name: label_precision(each, gallery, queries, k) for name, each in named.items()}
    return results | {"chance": chance(gallery.labels, queries.labels)}


def chance(gallery_labels: Sequence[str], query_labels: Sequence[str]) -> float:
    """The expected precision of random neighbors.

    >>> chance(["cat", "dog", "dog", "cow"], ["dog", "cat"])
    0.375
    """
    counts = {label: list(gallery_labels).count(label) for label in set(gallery_labels)}
    return sum(counts.get(label, 0) for label in query_labels) / (len(query_labels) * len(gallery_labels))


def embed(embedding: Embedding, x: Items) -> Float[Tensor, "n d"]:
    """Embed many items in batches."""
    return torch.cat([embedding(part) for part in x.split(CHUNK)])

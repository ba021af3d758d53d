"""Small data sets and an embedding without a VAE, for indexes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.datasets.dataset import Line, Record
from vaekit.errors import BadItem
from vaekit.retrieval.description import Description
from vaekit.retrieval.index import opened_for_change
from vaekit.retrieval.update import Changes, update

DIMENSION = 8


@dataclass(eq=False)
class Lines:
    """Sentences as a data set: each item is a key and a text."""

    items: Sequence[tuple[str, str]]
    kind = "lines"
    digest = ""

    def __len__(self) -> int:
        return len(self.items)

    def key(self, item: int) -> str:
        return self.items[item][0]

    def read(self, item: int) -> Record:
        key, text = self.items[item]
        if text == "unreadable":
            raise BadItem(f"{key} is damaged.", "", "")
        return Line(key, text)


def sentences(count: int, start: int = 0) -> list[tuple[str, str]]:
    return [(f"item-{number:05d}", f"text {number}") for number in range(start, start + count)]


def as_values(records: Sequence[Record]) -> Tensor:
    """Texts as numbers (b, 1): the number in them, or NaN."""
    values = []
    for record in records:
        assert isinstance(record, Line)
        last = record.text.split()[-1]
        values.append(float(last) if last.lstrip("-").isdigit() else float("nan"))
    return torch.tensor(values).unsqueeze(1)


@dataclass(eq=False)
class Random:
    """A random vector for each number, the same every time; counts the items that it embeds."""

    identity: dict[str, Any] = field(default_factory=lambda: {"embedding": "random", "vae": "none"})
    dimension: int = DIMENSION
    embedded: int = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.embedded += len(x)
        vectors = []
        for value in x.flatten().tolist():
            if value != value:
                vectors.append(torch.full((self.dimension,), float("nan")))
                continue
            generator = torch.Generator().manual_seed(int(value) % 2**31)
            vector = torch.randn(self.dimension, generator=generator)
            vectors.append(vector / vector.norm())
        return torch.stack(vectors)


def description_of(embedding: Random, **changes: Any) -> Description:
    return Description(dict(embedding.identity), embedding.dimension, {"domain": "lines", "schema": "none"}, **changes)


def indexed(
    folder: Path,
    items: Sequence[tuple[str, str]],
    embedding: Random | None = None,
    labels: Sequence[str | None] = (),
    chunk: int = 16,
    **options: Any,
) -> Changes:
    """Bring an index up to date with sentences."""
    embedding = embedding or Random()
    with opened_for_change(folder, description_of(embedding)) as index:
        return update(index, Lines(items), as_values, embedding, labels, chunk, **options)

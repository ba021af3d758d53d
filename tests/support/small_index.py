"""Small data sets and an embedding without a VAE, for indexes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaekit.checkpoints.save import save
from vaekit.datasets.dataset import Line, Record
from vaekit.errors import BadItem
from vaekit.families import assemble, family_of
from vaekit.families.burgess.net import BurgessConfig
from vaekit.retrieval.description import Description
from vaekit.retrieval.index import opened_for_change, opened_for_search
from vaekit.retrieval.update import Changes, embedding_here, update
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, ModelOptions

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
        data = Lines(items)
        return update(index, data, embedding_here(data, as_values, embedding), labels, chunk, **options)


def content(folder: Path) -> dict[str, tuple[bytes, str | None, bytes]]:
    """Every item of an index with its digest, label and vector."""
    with opened_for_search(folder) as index:
        rows = list(index.rows.all())
        pairs = zip(rows, index.vectors_of(rows), strict=True)
        return {row.entry.name: (row.entry.digest, row.entry.label, each.tobytes()) for row, each in pairs}


def small_images(count: int, side: int = 32) -> "np.ndarray[Any, Any]":
    """Smooth random images (n, side, side, 3), bytes."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (count, 4, 4, 3))
    return np.kron(coarse, np.ones((1, side // 4, side // 4, 1))).astype(np.uint8)


def square_model(path: Path) -> OpenModel:
    """A tiny VAE with random weights, of images of 32x32 pixels, which is written to a file and opened."""
    torch.manual_seed(0)
    save(assemble(family_of("burgess"), BurgessConfig(3, 32, 4, 16, 6)).eval(), path)
    return open_model(ModelOptions(str(path)), EngineOptions(device="cpu", batch=16))

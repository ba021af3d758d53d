"""Items of a data set batch by batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from refusals import refuses
from small_index import Lines
from torch import Tensor

from vaekit.datasets.dataset import Line, Record, Splits
from vaekit.domains.item_batches import item_stream
from vaekit.errors import BadItem, NotFound


@dataclass
class Lengths:
    """A schema of sentences: their lengths."""

    asked: list[int] = field(default_factory=list)

    def as_plain(self) -> dict[str, Any]:
        return {}

    def vae_settings(self) -> dict[str, Any]:
        return {}

    def example(self) -> Tensor:
        return torch.zeros(1, 1)

    def to_tensor(self, records: Sequence[Record]) -> Tensor:
        self.asked.append(len(records))
        texts = [record.text for record in records if isinstance(record, Line)]
        if "odd" in texts:
            raise BadItem("This one is odd.", "", "")
        return torch.tensor([[float(len(text))] for text in texts])

    def to_small_tensor(self, records: Sequence[Record], side: int) -> Tensor:
        return self.to_tensor(records)

    def to_items(self, x: Tensor) -> Sequence[Any]:
        return x.tolist()

    def property_named(self, name: str) -> Callable[[Tensor], Tensor]:
        raise NotFound(name, "", "")


class Labelled(Lines):
    def label_names(self) -> Sequence[str]:
        return ["kind"]

    def labels(self, name: str) -> Sequence[str | None]:
        return [text[:1] if text else None for _, text in self.items]


DATA = Labelled([("1", "a"), ("2", "odd"), ("3", "unreadable"), ("4", "bbbb"), ("5", "cc")])


@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_items_stay_in_place(size: int) -> None:
    stream = item_stream(Splits(DATA), Lengths(), size)
    assert (stream.total, stream.labels, stream.expected_total(3)) == (5, frozenset(), 5)
    batches = list(stream.batches)
    assert [len(batch.names) for batch in batches] == [min(size, 5 - start) for start in range(0, 5, size)]
    assert [name for batch in batches for name in batch.names] == ["1", "2", "3", "4", "5"]
    x = torch.cat([batch.x for batch in batches]).flatten()
    assert x[[0, 3, 4]].tolist() == [1, 4, 2] and all(batch.labels is None for batch in batches)
    problems = {batch.names[place]: reason for batch in batches for place, reason in batch.problems.items()}
    assert set(problems) == {"2", "3"} and "odd" in problems["2"] and "damaged" in problems["3"]


def test_readable_items_are_converted_together() -> None:
    schema = Lengths()
    list(item_stream(Splits(Lines([("1", "a"), ("2", "b"), ("3", "c")])), schema, 8).batches)
    assert schema.asked == [3]


def test_labels_and_splits() -> None:
    other = Labelled([("6", "dd")])
    stream = item_stream(Splits(DATA, other), Lengths(), 8, "kind", train=True)
    assert stream.labels == {"a", "o", "u", "b", "c"}
    (batch,) = stream.batches
    assert batch.labels is not None and list(batch.labels) == ["a", "o", "u", "b", "c"]
    (batch,) = item_stream(Splits(DATA, other), Lengths(), 8).batches
    assert list(batch.names) == ["6"]
    with refuses(NotFound, "color"):
        item_stream(Splits(DATA), Lengths(), 8, "color")

"""Data: an endless order, of which any part can be had at any time."""

import threading

import pytest
import torch
from torch import Tensor

from vaekit.training.data import Stream, Tensors, ahead


def test_every_pass_shows_every_item_once_in_another_order(stream: Stream) -> None:
    first, second = stream.items(0, 60), stream.items(60, 60)
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(60))
    assert first.tolist() != second.tolist()


def test_any_part_is_the_same_however_it_is_reached(stream: Stream) -> None:
    whole = stream.items(0, 200)
    assert torch.equal(torch.cat([stream.items(at, 7) for at in range(0, 196, 7)]), whole[:196])
    assert torch.equal(stream.items(55, 130), whole[55:185])


def test_another_seed_is_another_order(stream: Stream) -> None:
    assert stream.items(0, 60).tolist() != Stream(stream.source, 4).items(0, 60).tolist()


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_made_ahead_are_those_made_when_asked(stream: Stream, workers: int) -> None:
    places = range(16, 160, 8)
    for place, batch in zip(places, ahead(stream, places, 8, workers), strict=True):
        assert torch.equal(batch, stream.batch(place, 8))


def test_an_error_in_a_worker_arrives_and_threads_end() -> None:
    class Broken:
        def __len__(self) -> int:
            return 10

        def batch(self, items: Tensor, seed: int) -> Tensor:
            raise RuntimeError("no")

    batches = ahead(Stream(Broken(), 0), range(0, 100, 5), 5, workers=2)
    with pytest.raises(RuntimeError, match="no"):
        next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("data")]


def test_tensors_are_prepared_by_chance_that_follows_from_the_place(stream: Stream) -> None:
    assert torch.equal(stream.batch(8, 8), stream.batch(8, 8))
    plain = Stream(Tensors(stream.source.items), 3)  # type: ignore[attr-defined]
    assert any(not torch.equal(stream.batch(at, 8), plain.batch(at, 8)) for at in range(0, 64, 8))

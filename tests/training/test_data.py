import gc
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from vaekit.training.data import ItemByItem, Stream, Tensors, ahead, item_by_item


@dataclass(frozen=True, eq=False)
class Slow:
    """Items that say their number and seed; item 13 cannot be made."""

    length: int = 12
    seconds: float = 0.0
    made: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return self.length

    def batch(self, items: Tensor, seed: int) -> Tensor:
        return item_by_item(self, items, seed)

    def empty(self, count: int) -> Tensor:
        return torch.empty(count, 2, dtype=torch.long)

    def fill(self, out: Tensor, item: int, seed: int) -> None:
        time.sleep(self.seconds)
        if item == 13:
            raise ValueError("thirteen")
        self.made.append(item)
        out[0], out[1] = item, seed


def tensors() -> Tensors:
    return Tensors(torch.arange(12.0), lambda x, generator: x + torch.rand(len(x), generator=generator))


@pytest.mark.parametrize("source", [Slow(), tensors()], ids=["item by item", "whole batches"])
@pytest.mark.parametrize("workers", [0, 1, 2, 5])
def test_a_batch_follows_from_its_position_alone(source: Slow | Tensors, workers: int) -> None:
    stream = Stream(source, 3)
    expected = {position: stream.batch(position, 5) for position in range(0, 60, 5)}
    for start in (0, 25, 55):
        positions = range(start, 60, 5)
        got = list(ahead(stream, positions, 5, workers))
        assert all(torch.equal(a, expected[position]) for a, position in zip(got, positions, strict=True))


def test_an_epoch_shows_each_item_once() -> None:
    stream = Stream(Slow(), 0)
    epochs = [stream.items(start, 12).tolist() for start in (0, 12, 24)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert stream.items(10, 30).tolist() == [*epochs[0][10:], *epochs[1], *epochs[2], *stream.items(36, 4).tolist()]


def test_only_sources_of_single_items_are_divided() -> None:
    assert isinstance(Slow(), ItemByItem) and not isinstance(tensors(), ItemByItem)


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_is_raised_once_when_its_batch_comes(workers: int) -> None:
    stream = Stream(Slow(length=14), 1)
    bad = stream.items(0, 14).tolist().index(13) // 2
    batches = ahead(stream, range(0, 28, 2), 2, workers)
    for _ in range(bad):
        next(batches)
    with pytest.raises(ValueError, match="thirteen"):
        next(batches)
    assert next(batches, None) is None
    assert not data_threads()


def data_threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith("data") and each.is_alive()]


def test_closing_stops_the_threads_after_the_item_in_hand() -> None:
    source = Slow(length=1000, seconds=0.02)
    with closing(ahead(Stream(source, 0), range(0, 1000, 100), 100, 2)) as batches:
        next(batches)
    made = len(source.made)
    assert made <= 310 and not data_threads()
    time.sleep(0.05)
    assert len(source.made) == made


def test_an_interrupted_loop_leaves_no_thread_behind() -> None:
    def interrupted() -> None:
        for _ in ahead(Stream(Slow(length=1000, seconds=0.001), 0), range(0, 1000, 100), 100, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    gc.collect()
    assert not data_threads()


def test_no_more_batches_lie_ready_than_are_told() -> None:
    source = Slow(length=1000)
    batches = ahead(Stream(source, 0), range(0, 1000, 10), 10, 2, depth=3)
    next(batches)
    time.sleep(0.2)
    assert len(source.made) == 40
    next(batches)
    time.sleep(0.2)
    assert len(source.made) == 50
    batches.close()  # type: ignore[attr-defined]


def test_threads_share_one_batch() -> None:
    together = threading.Barrier(2)

    class Meeting(Slow):
        def fill(self, out: Tensor, item: int, seed: int) -> None:
            together.wait(timeout=20)
            super().fill(out, item, seed)

    batch = next(iter(ahead(Stream(Meeting(), 0), [0], 2, 2)))
    assert sorted(batch[:, 0].tolist()) == sorted(Stream(Slow(), 0).items(0, 2).tolist())


def test_another_seed_is_another_order(stream: Stream) -> None:
    assert stream.items(0, 60).tolist() != Stream(stream.source, 4).items(0, 60).tolist()


def test_tensors_are_prepared_by_chance_that_follows_from_the_place(stream: Stream) -> None:
    assert torch.equal(stream.batch(8, 8), stream.batch(8, 8))
    plain = Stream(Tensors(stream.source.items), 3)  # type: ignore[attr-defined]
    assert any(not torch.equal(stream.batch(at, 8), plain.batch(at, 8)) for at in range(0, 64, 8))

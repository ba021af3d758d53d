"""Samples of streams."""

import torch

from vaekit.anomaly.hash_sample import HashSample


def sampled(order: list[int], limit: int, size: int) -> torch.Tensor:
    sample = HashSample(limit)
    for start in range(0, len(order), size):
        part = order[start : start + size]
        sample.add([f"row {i}" for i in part], torch.tensor(part))
    assert sample.count == len(order)
    return sample.rows()[0]


def test_the_sample_does_not_depend_on_order_or_batches() -> None:
    order = list(range(1000))
    first = sampled(order, 50, 13)
    assert len(first) == 50 and len(set(first.tolist())) == 50
    assert torch.equal(first, sampled(order[::-1], 50, 400))
    assert torch.equal(first[:20], sampled(order, 20, 1))


def test_few_items_are_all_kept() -> None:
    assert sorted(sampled([3, 1, 2], 50, 2).tolist()) == [1, 2, 3]
    empty = HashSample(5)
    empty.add([], torch.zeros(0))
    assert empty.rows() == ()

"""Recall and precision on planted neighbors."""

import pytest
import torch
from torch import Tensor

from vaekit.retrieval import quality
from vaekit.retrieval.baselines import Pixels
from vaekit.retrieval.embedding import unit_vectors
from vaekit.retrieval.quality import (
    EMPTY,
    LabeledItems,
    chance,
    compare_with_baselines,
    exact_neighbors,
    precision,
    recall,
)


def planted(groups: int, each: int, seed: int = 0) -> tuple[Tensor, list[str]]:
    """Unit vectors in tight groups, and the names of the groups."""
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(groups, 16, generator=torch.Generator().manual_seed(99)).repeat_interleave(each, dim=0)
    values = centers + 0.05 * torch.randn(centers.shape, generator=generator)
    return unit_vectors(values, "The vector"), [f"group {i // each}" for i in range(groups * each)]


def test_neighbors_are_those_of_a_sort_in_any_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    gallery, queries = planted(7, 9)[0], planted(7, 2, seed=1)[0]
    expected = (queries @ gallery.T).sort(dim=1, descending=True, stable=True).indices[:, :5]
    assert torch.equal(exact_neighbors(queries, gallery, 5), expected)
    monkeypatch.setattr(quality, "CHUNK", 3)
    assert torch.equal(exact_neighbors(queries, iter(gallery.split(4)), 5), expected)


def test_each_item_finds_itself_first_and_is_left_out_on_request() -> None:
    gallery, _ = planted(5, 4)
    everyone = list(range(len(gallery)))
    assert exact_neighbors(gallery, gallery, 3)[:, 0].tolist() == everyone
    others = exact_neighbors(gallery, gallery.split(7), 3, own=everyone)
    assert not (others == torch.tensor(everyone).unsqueeze(1)).any()


def test_a_gallery_with_fewer_items_leaves_places_empty() -> None:
    gallery, labels = planted(2, 1)
    assert exact_neighbors(gallery[:1], gallery, 3, own=[0]).tolist() == [[1, EMPTY, EMPTY]]
    assert precision(torch.tensor([[1, EMPTY]]), labels[1:], labels) == 1
    assert recall(torch.tensor([[1, EMPTY]]), torch.tensor([[1, EMPTY]])) == 1
    assert recall(torch.tensor([[EMPTY, EMPTY]]), torch.tensor([[1, EMPTY]])) == 0


def test_precision_is_that_of_the_planted_groups() -> None:
    gallery, labels = planted(5, 20)
    queries, wanted = planted(5, 3, seed=1)
    assert precision(exact_neighbors(queries, gallery), wanted, labels) == 1
    shuffled = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    assert precision(exact_neighbors(queries, gallery[shuffled]), wanted, labels) < 0.5
    assert chance(labels, wanted) == pytest.approx(0.2)


def test_recall_is_that_of_planted_misses() -> None:
    exact = torch.arange(40).view(4, 10)
    assert recall(exact.flip(1), exact) == 1
    missed = exact.clone()
    missed[0, :5] = 100
    assert recall(missed, exact) == pytest.approx(35 / 40)


def test_an_embedding_is_compared_with_the_baselines() -> None:
    generator = torch.Generator().manual_seed(0)
    shades = torch.tensor([-0.8, 0.8]).repeat(20).view(-1, 1, 1, 1)
    x = (shades + 0.1 * torch.randn(40, 3, 4, 4, generator=generator)).clamp(-1, 1)
    labels = ["dark", "light"] * 20
    gallery, queries = LabeledItems(x[:30], labels[:30]), LabeledItems(x[30:], labels[30:])
    results = compare_with_baselines(Pixels(48), gallery, queries, k=5)
    assert results.keys() == {"embedding", "pixels", "histogram", "pca", "chance"}
    assert results["pixels"] == results["embedding"] == results["histogram"] == 1
    assert results["chance"] == 0.5
    rows = compare_with_baselines(
        Pixels(3), LabeledItems(x[:30, :, 0, 0], labels[:30]), LabeledItems(x[30:, :, 0, 0], labels[30:]), k=5
    )
    assert "histogram" not in rows

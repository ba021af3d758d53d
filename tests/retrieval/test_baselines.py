"""Pixels, color histograms and principal components as embeddings."""

import pytest
import torch
from torch import Tensor

from vaekit.errors import BadItem
from vaekit.retrieval.baselines import Histogram, Pixels, baselines_for, fit_components
from vaekit.retrieval.embedding import Embedding


def random_images(count: int, channels: int = 3, side: int = 8) -> Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("x", [random_images(9), random_images(9, 1), random_images(9, 3, 48), torch.randn(9, 5)])
def test_laws_of_embeddings(x: Tensor) -> None:
    for embedding in baselines_for(x).values():
        assert isinstance(embedding, Embedding)
        vectors = embedding(x)
        assert vectors.shape == (9, embedding.dimension)
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(9))
        torch.testing.assert_close(torch.cat([embedding(part) for part in x.split(2)]), vectors)


def test_a_histogram_ignores_places_and_notices_colors() -> None:
    x = random_images(2)
    shuffled = x.flatten(2)[:, :, torch.randperm(64)].view(x.shape)
    histogram = Histogram(3)
    torch.testing.assert_close(histogram(x), histogram(shuffled))
    assert (histogram(x[:1]) @ histogram(-x[:1].abs()).T).item() < 0.9


def test_histograms_of_gray_images_count_levels() -> None:
    levels = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 4, 4)
    vectors = Histogram(1)(levels)
    assert vectors.shape == (2, 8)
    assert (vectors[0] @ vectors[1]).item() == 0


def test_components_keep_what_varies() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, 1, generator=generator) * torch.tensor([3.0, 4.0]) + 7
    components = fit_components(x)
    axis = components.vectors[:, 0].abs()
    torch.testing.assert_close(axis, torch.tensor([0.6, 0.8]))


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(BadItem):
        Pixels(2)(torch.tensor([[1.0, torch.inf]]))


def test_missing_values_count_as_the_center() -> None:
    vectors = Pixels(2)(torch.tensor([[1.0, torch.nan], [1.0, 0.0]]))
    assert torch.equal(vectors[0], vectors[1])

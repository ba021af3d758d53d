"""Distances of latents, against direct computation."""

import pytest
import torch
from sklearn.covariance import OAS
from sklearn.neighbors import NearestNeighbors

from vaekit.anomaly import latent_distances
from vaekit.anomaly.latent_distances import Gaussian, Moments, neighbor_distance


def latents(count: int, dimensions: int = 4, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dimensions, dimensions, generator=generator, dtype=torch.float64)
    return torch.randn(count, dimensions, generator=generator, dtype=torch.float64) @ mixing + 3


def test_the_covariance_is_that_of_scikit_learn() -> None:
    z = latents(60)
    moments = Moments()
    for part in z.split(7):
        moments.add(part)
    expected = OAS().fit(z.numpy())
    whitening = moments.whitening()
    assert torch.allclose(moments.mean, torch.from_numpy(expected.location_))
    assert torch.allclose(whitening.T @ whitening, torch.from_numpy(expected.precision_))
    distances = Gaussian(moments.mean, whitening).distance(z[:5])
    assert torch.allclose(distances.square(), torch.from_numpy(expected.mahalanobis(z[:5].numpy())))


def test_many_dimensions_are_standardized_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_distances, "MOST_CORRELATED", 3)
    z = latents(50)
    moments = Moments()
    for part in z.split(20):
        moments.add(part)
    gaussian = Gaussian(moments.mean, moments.whitening())
    expected = ((z - z.mean(dim=0)) / z.std(dim=0, correction=0)).norm(dim=1)
    assert torch.allclose(gaussian.distance(z), expected, rtol=1e-5)


@pytest.mark.parametrize("most", [1024, 1])
def test_constant_latents_have_finite_distances(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_distances, "MOST_CORRELATED", most)
    for z in (torch.ones(5, 3), torch.cat([torch.ones(5, 2), torch.arange(5.0).unsqueeze(1)], dim=1)):
        moments = Moments()
        moments.add(z)
        assert Gaussian(moments.mean, moments.whitening()).distance(z + 1).isfinite().all()


def test_neighbors_are_those_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_distances, "QUERIES", 16)
    reference, queries = latents(100), latents(40, seed=0) + 0.1
    expected = NearestNeighbors(n_neighbors=5).fit(reference.numpy()).kneighbors(queries.numpy())[0][:, 4]
    assert torch.allclose(neighbor_distance(queries, reference), torch.from_numpy(expected), rtol=1e-12)
    own = NearestNeighbors(n_neighbors=6).fit(reference.numpy()).kneighbors(reference.numpy())[0][:, 5]
    assert torch.allclose(neighbor_distance(reference, reference, own=True), torch.from_numpy(own), rtol=1e-12)


def test_few_and_equal_reference_latents() -> None:
    two = torch.tensor([[0.0], [3.0]])
    assert neighbor_distance(two, two, own=True).tolist() == [3, 3]
    assert neighbor_distance(torch.tensor([[1.0]]), two).tolist() == [2]
    equal = torch.ones(30, 2)
    assert neighbor_distance(equal, equal, own=True).tolist() == [0] * 30
    assert neighbor_distance(torch.zeros(0, 2), equal).tolist() == []


def test_distances_do_not_depend_on_the_other_queries() -> None:
    reference, queries = latents(500, 16), latents(90, 16, seed=2)
    whole = neighbor_distance(queries, reference)
    assert torch.equal(whole, torch.cat([neighbor_distance(each, reference) for each in queries.split(1)]))

"""The Frechet distance against scipy's matrix square root, and where that one is no help."""

import numpy as np
import pytest
import scipy.linalg
import torch
from refusals import refuses
from torch import Tensor

from vaekit.metrics.frechet import BLOCK, RunningGaussian, frechet_distance, gaussian_of


def features(rows: int, width: int, seed: int, shift: float = 0.0) -> Tensor:
    """Correlated and positive, with variances over several orders of magnitude, as Inception's are."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=generator) * torch.logspace(0, -3, width)
    return (torch.randn(rows, width, generator=generator) @ mixing).relu() + shift


def reference(x: Tensor, y: Tensor) -> float:
    """The formula as it is written, by NumPy and scipy."""
    a, b = x.double().numpy(), y.double().numpy()
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = np.real(np.asarray(scipy.linalg.sqrtm(s1 @ s2)))
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s1 + s2 - 2 * root))


@pytest.mark.parametrize("width", [3, 64, 200])
def test_it_is_the_formula(width: int) -> None:
    x, y = features(600, width, 0), features(500, width, 1, shift=0.1)
    assert frechet_distance(gaussian_of(x), gaussian_of(y)) == pytest.approx(reference(x, y), rel=1e-6)


def test_one_feature_is_known_by_hand() -> None:
    x, y = torch.randn(50, 1), 3 * torch.randn(60, 1) + 2
    by_hand = (x.double().mean() - y.double().mean()) ** 2 + (x.double().std() - y.double().std()) ** 2
    assert frechet_distance(gaussian_of(x), gaussian_of(y)) == pytest.approx(by_hand.item(), rel=1e-10)


def test_equal_sets_are_at_zero_with_fewer_items_than_features_too() -> None:
    x = features(12, 300, 0)
    size = float(gaussian_of(x).covariance.diagonal().sum())
    assert frechet_distance(gaussian_of(x), gaussian_of(x)) == pytest.approx(0, abs=1e-10 * size)


def test_few_items_in_many_dimensions_are_those_of_their_own_space() -> None:
    """Features that lie in a subspace have the distance that they have in coordinates of it."""
    few = [features(40, 10, seed) for seed in (0, 1)]
    turn = torch.linalg.qr(torch.randn(300, 300, dtype=torch.float64)).Q[:10]
    many = [each.double() @ turn for each in few]
    inside = frechet_distance(*(gaussian_of(each) for each in few))
    assert frechet_distance(*(gaussian_of(each) for each in many)) == pytest.approx(inside, rel=1e-6)


def test_it_is_symmetric() -> None:
    x, y = gaussian_of(features(80, 20, 0)), gaussian_of(features(90, 20, 1))
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x), rel=1e-9)


@pytest.mark.parametrize("sizes", [(1,), (BLOCK + 1, 3), (7, 100, 2)])
def test_sums_do_not_depend_on_how_rows_come(sizes: tuple[int, ...]) -> None:
    rows = features(300, 16, 0)
    one, many = RunningGaussian(16), RunningGaussian(16)
    one.add(rows)
    at, turn = 0, 0
    while at < len(rows):
        size = sizes[turn % len(sizes)]
        many.add(rows[at : at + size])
        at, turn = at + size, turn + 1
    for a, b in ((one.gaussian().mean, many.gaussian().mean), (one.gaussian().covariance, many.gaussian().covariance)):
        assert torch.equal(a, b)
    np.testing.assert_allclose(one.gaussian().covariance, np.cov(rows.double().numpy(), rowvar=False), atol=1e-12)


def test_one_row_has_no_covariance() -> None:
    with refuses(ValueError, "1"):
        gaussian_of(torch.zeros(1, 3))

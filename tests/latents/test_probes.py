"""Linear functions of latents: closed forms, scikit-learn as reference, and scores on data without a signal."""

import numpy as np
import pytest
import torch

from vaekit.latents.probes import METHODS, class_score, held_out_score, mean_difference, probe, ridge, thin_svd
from vaekit.latents.targets import target_of


def latents(count: int = 300, width: int = 6, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(width, width, generator=generator, dtype=torch.float64)
    return torch.randn(count, width, generator=generator, dtype=torch.float64) @ mixed + 2


def even(count: int) -> torch.Tensor:
    return torch.full((count,), 1 / count, dtype=torch.float64)


def test_for_classes_the_slope_is_the_difference_of_the_means() -> None:
    x = latents()
    labels = ["yes" if i % 3 == 0 else "no" for i in range(len(x))]
    target = target_of("x", labels)
    expected = x[::3].mean(dim=0) - x[torch.arange(len(x)) % 3 != 0].mean(dim=0)
    torch.testing.assert_close(mean_difference(x, target.values, target.weights), expected)


@pytest.mark.parametrize(("count", "width"), [(300, 6), (20, 50)])
def test_ridge_is_that_of_scikit_learn(count: int, width: int) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    x = latents(count, width)
    y = x[:, 0] - 2 * x[:, 1] + torch.randn(count, generator=torch.Generator().manual_seed(1)).double()
    variances = thin_svd((x - x.mean(dim=0)) / count**0.5)[1].square()
    penalties = [10 ** (k / 2) * variances.mean().item() * count for k in range(-12, 7)]
    reference = linear_model.RidgeCV(penalties).fit(x.numpy(), y.numpy())
    torch.testing.assert_close(ridge(x, y, even(count)), torch.from_numpy(reference.coef_), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_latents_without_variance_give_no_direction(method: str) -> None:
    assert not METHODS[method](torch.ones(5, 3).double(), torch.arange(5).double(), even(5)).abs().max() > 1e-12


@pytest.mark.parametrize("method", METHODS)
def test_scores_of_a_signal_and_of_none(method: str) -> None:
    x = latents(400)
    noise = torch.randn(400, generator=torch.Generator().manual_seed(2)).double()
    for y, low, high in ((x @ torch.ones(6).double() + 0.1 * noise, 0.5, 1), (noise, -0.1, 0.1)):
        score = held_out_score(x, target_of("y", list(map(str, y.tolist()))), METHODS[method])
        assert score is not None and score.r2 is not None and low < score.r2 <= high
        labels = [str(value > y.median().item()) for value in y.tolist()]
        score = held_out_score(x, target_of("y", labels), METHODS[method])
        assert score is not None and score.auc is not None and low < 2 * score.auc - 1 <= high + 0.1


def test_the_area_under_the_curve_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(0)
    predicted, positive = generator.integers(0, 20, 100) / 20, generator.random(100) < 0.3
    weights = generator.random(100)
    found = class_score(*map(torch.from_numpy, (predicted, positive, weights)))
    assert found.auc == pytest.approx(metrics.roc_auc_score(positive, predicted, sample_weight=weights))


def test_too_few_items_have_no_score() -> None:
    x = latents(4)
    assert held_out_score(x, target_of("x", ["1", "2", "3", "4"]), ridge) is None
    assert held_out_score(x, target_of("x", ["a", "a", "b", "b"]), ridge) is not None


def test_a_probe_is_in_standard_deviations_of_the_label() -> None:
    x = latents()
    y = 5 * x[:, 2] + 100
    found = probe(x, target_of("y", list(map(str, y.tolist()))))
    expected = torch.zeros(6).double()
    expected[2] = 5 / y.std(correction=0)
    torch.testing.assert_close(found.weights, expected, rtol=1e-3, atol=1e-4)

"""Measures of synthetic rows: known answers, and agreement with SciPy."""

import numpy as np
import pytest
from scipy import stats

from vaekit.metrics import synthetic
from vaekit.metrics.synthetic import (
    association_difference,
    associations,
    closer_share,
    copies,
    correlation_ratio,
    cramers_v,
    kolmogorov_smirnov,
    nearest_distances,
    pearson,
    total_variation,
    two_sample_auroc,
)

RANDOM = np.random.default_rng(0)
NAN = float("nan")


def test_kolmogorov_smirnov_is_that_of_scipy() -> None:
    a, b = RANDOM.normal(size=200), np.round(RANDOM.normal(0.3, 1.5, size=130), 1)
    assert kolmogorov_smirnov(a, b) == pytest.approx(stats.ks_2samp(a, b).statistic)
    assert kolmogorov_smirnov([*a, NAN, NAN], b) == kolmogorov_smirnov(a, b)
    assert kolmogorov_smirnov(a, a) == 0 and kolmogorov_smirnov(a, a + 100) == 1
    assert np.isnan(kolmogorov_smirnov([NAN], b))


def test_total_variation() -> None:
    assert total_variation([0, 1, 1, 2], [0, 1, 1, 2, -1]) == 0
    assert total_variation([0, 0], [5, 5]) == 1
    assert total_variation([0, 0, 1, 1], [0, 1, 1, 1]) == 0.25
    assert np.isnan(total_variation([-1], [0]))


def test_associations_are_those_of_scipy() -> None:
    a, b = RANDOM.normal(size=100), RANDOM.normal(size=100)
    x, y = RANDOM.integers(0, 3, 100), RANDOM.integers(0, 4, 100)
    assert pearson(a, b) == pytest.approx(stats.pearsonr(a, b).statistic)
    assert cramers_v(x, y) == pytest.approx(stats.contingency.association(stats.contingency.crosstab(x, y).count))
    groups = [a[x == k] for k in range(3)]
    between = sum(len(group) * (group.mean() - a.mean()) ** 2 for group in groups)
    assert correlation_ratio(x, a) == pytest.approx(np.sqrt(between / ((a - a.mean()) ** 2).sum()))
    assert associations(np.stack([a, b], 1), np.stack([x, y], 1)) == pytest.approx(
        [pearson(a, b), *(correlation_ratio(k, v) for v in (a, b) for k in (x, y)), cramers_v(x, y)]
    )


def test_missing_values_and_constants_in_associations() -> None:
    assert pearson([1, 2, 3, NAN], [2, 4, 6, 0]) == pytest.approx(1)
    assert cramers_v([0, 0, 1, 1, -1], [0, 0, 1, 1, 0]) == 1
    assert correlation_ratio([0, 0, 1, 1, -1], [1, 1, 2, 2, 9]) == 1
    for constant in (pearson([1, 1], [1, 2]), cramers_v([0, 0], [0, 1]), correlation_ratio([0, 1], [3, 3])):
        assert np.isnan(constant)
    assert np.isnan(pearson([NAN], [NAN])) and np.isnan(cramers_v([], [])) and np.isnan(correlation_ratio([], []))
    assert np.isnan(association_difference(np.array([NAN]), np.array([0.5])))


def test_a_classifier_tells_different_rows_apart_and_equal_ones_not() -> None:
    real, same = RANDOM.normal(size=(200, 3)), RANDOM.normal(size=(200, 3))
    assert abs(two_sample_auroc(real, same) - 0.5) < 0.1
    related = np.stack([real[:, 0], real[:, 0] + 0.1 * real[:, 1], real[:, 2]], axis=1)
    shuffled = np.stack([same[:, 0], real[:, 0], same[:, 2]], axis=1)
    assert two_sample_auroc(related, shuffled) > 0.9, "equal margins, other correlations"
    assert np.isnan(two_sample_auroc(real[:3], same))


def test_distances_in_blocks_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, others = RANDOM.normal(1e3, 1, size=(30, 4)), RANDOM.normal(1e3, 1, size=(20, 4))
    rows[7] = others[3]
    expected = np.sqrt(((rows[:, None] - others) ** 2).sum(axis=2)).min(axis=1)
    assert nearest_distances(rows, others) == pytest.approx(expected, abs=1e-12)
    monkeypatch.setattr(synthetic, "BLOCK", 50)
    found = nearest_distances(rows, others)
    assert found == pytest.approx(expected, abs=1e-12) and found[7] == 0


def test_copies_of_training_rows_are_closer_than_new_rows() -> None:
    train, new, held_out = (RANDOM.normal(size=(count, 2)) for count in (300, 300, 100))
    apart = nearest_distances(held_out, train)
    assert abs(closer_share(nearest_distances(new, train), apart) - 0.5) < 0.08
    assert closer_share(nearest_distances(train[:50], train), apart) == 1
    assert np.isnan(closer_share([1.0], []))
    assert copies(np.concatenate([train[:5], new]), train) == 5
    assert copies([[0.0, NAN]], [[-0.0, NAN]]) == 1 and copies([[0.0, NAN]], [[0.0, 1.0]]) == 0

"""Means and intervals against NumPy and scipy, and the paired test where it can be counted by hand."""

import math

import numpy as np
import pytest
from refusals import refuses
from scipy import stats

from vaekit.metrics import statistics
from vaekit.metrics.statistics import RunningMean, mean_interval, paired_difference, student


def running(*values: float) -> RunningMean:
    found = RunningMean()
    for value in values:
        found.add(value)
    return found


def test_mean_error_and_interval_are_those_of_scipy() -> None:
    values = np.random.default_rng(0).normal(1e6, 2, 12)
    result = running(*values)
    error = stats.sem(values)
    low, high = stats.t.interval(0.95, 11, values.mean(), error)
    assert result.mean == pytest.approx(values.mean(), rel=1e-15)
    assert result.standard_error == pytest.approx(error, rel=1e-9)
    assert result.interval is not None
    assert (result.interval.low, result.interval.high) == pytest.approx((low, high), rel=1e-9)
    assert (result.count, result.not_finite) == (12, 0)
    assert mean_interval(values.tolist()) == result.interval


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 7, 11, 30, 100, 10_000])
def test_students_t(freedom: int) -> None:
    assert student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=0.01)


def test_non_finite_values_are_counted_and_left_out() -> None:
    result = running(1.0, math.inf, 3.0, math.nan)
    assert (result.mean, result.count, result.not_finite) == (2.0, 2, 2)


def test_one_value_has_no_interval() -> None:
    assert (running(2.5).mean, running(2.5).standard_error, running(2.5).interval) == (2.5, None, None)
    for values in ([], [1.0], [1.0, math.inf]):
        with pytest.raises(ValueError, match="at least two finite values"):
            mean_interval(values)


@pytest.mark.parametrize("count", [5, 12, 30])
def test_the_interval_holds_the_mean_as_often_as_it_says(count: int) -> None:
    """Percentile bootstrap intervals of as many values do so in 85, 91 and 94 % of cases."""
    samples = np.random.default_rng(3).normal(5.0, 1.0, (2000, count))
    inside = 0
    for sample in samples:
        found = mean_interval(sample.tolist())
        inside += found.low <= 5.0 <= found.high
    assert 0.935 <= inside / len(samples) <= 0.965


@pytest.mark.parametrize("count", [5, 12])
def test_the_paired_test_is_that_of_scipy(count: int) -> None:
    generator = np.random.default_rng(count)
    a = generator.normal(0.4, 1, count)
    b = generator.normal(0, 1, count)
    theirs = stats.permutation_test((a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf)
    found = paired_difference(a.tolist(), b.tolist())
    assert found.p == pytest.approx(theirs.pvalue)
    low, high = stats.ttest_rel(a, b).confidence_interval()
    assert (found.difference.low, found.difference.high) == pytest.approx((low, high), rel=0.01)


def test_many_items_are_drawn_and_agree_with_all_flips(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(0.5, 1, 12), generator.normal(0, 1, 12)
    exact = paired_difference(a.tolist(), b.tolist()).p
    monkeypatch.setattr(statistics, "EXACT_UP_TO", 0)
    assert paired_difference(a.tolist(), b.tolist()).p == pytest.approx(exact, abs=0.03)


def test_equal_series_do_not_differ() -> None:
    found = paired_difference([3.0, 4.0], [3.0, 4.0])
    assert (found.difference.mean, found.p) == (0.0, 1.0)


def test_what_cannot_be_paired_is_refused() -> None:
    with refuses(ValueError, "2", "1"):
        paired_difference([1.0, 2.0], [1.0])

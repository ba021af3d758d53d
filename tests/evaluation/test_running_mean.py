"""Means and intervals against NumPy and scipy."""

import math

import numpy as np
import pytest
from scipy import stats

from vaekit.evaluation.running_mean import RunningMean, student
from vaekit.metrics.measure import Measure

SOME = Measure("some", "Some", "", None, "")


def spread_of(*values: float) -> RunningMean:
    spread = RunningMean()
    for value in values:
        spread.add(value)
    return spread


def test_mean_error_and_interval_are_those_of_scipy() -> None:
    values = np.random.default_rng(0).normal(1e6, 2, 12)
    result = spread_of(*values).result(SOME)
    error = stats.sem(values)
    low, high = stats.t.interval(0.95, 11, values.mean(), error)
    assert result.value == pytest.approx(values.mean(), rel=1e-15)
    assert result.standard_error == pytest.approx(error, rel=1e-9)
    assert result.low == pytest.approx(low, rel=1e-9) and result.high == pytest.approx(high, rel=1e-9)
    assert (result.count, result.not_finite) == (12, 0)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 7, 11, 30, 100, 10_000])
def test_students_t(freedom: int) -> None:
    assert student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=0.01)


def test_what_is_not_finite_is_counted_and_left_out() -> None:
    result = spread_of(1.0, math.inf, 3.0, math.nan).result(SOME)
    assert (result.value, result.count, result.not_finite) == (2.0, 2, 2)


def test_one_number_has_no_interval_and_none_no_mean() -> None:
    one = spread_of(2.5).result(SOME)
    assert (one.value, one.standard_error, one.low, one.count) == (2.5, None, None, 1)
    assert math.isnan(spread_of(math.inf).result(SOME).value)

"""Intervals hold the truth as often as they say, and the paired test is right where it can be counted by hand."""

import numpy as np
import pytest
from refusals import refuses
from scipy import stats

from vaekit.metrics import statistics as confidence
from vaekit.metrics.statistics import bootstrap_interval, paired_difference


def test_the_interval_is_that_of_scipy() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=40)
    ours = bootstrap_interval(values.tolist())
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20000, rng=2).confidence_interval
    width = theirs.high - theirs.low
    assert ours.mean == pytest.approx(values.mean())
    assert abs(ours.low - theirs.low) < 0.05 * width
    assert abs(ours.high - theirs.high) < 0.05 * width


def test_the_truth_lies_inside_as_often_as_said() -> None:
    generator = np.random.default_rng(3)
    inside = 0
    for _ in range(200):
        found = bootstrap_interval(generator.normal(5.0, 1.0, 30).tolist(), draws=500)
        inside += found.low <= 5.0 <= found.high
    assert 0.88 <= inside / 200 <= 0.99


@pytest.mark.parametrize("count", [5, 12])
def test_the_paired_test_is_that_of_scipy(count: int) -> None:
    generator = np.random.default_rng(count)
    a = generator.normal(0.4, 1, count)
    b = generator.normal(0, 1, count)
    theirs = stats.permutation_test((a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf)
    assert paired_difference(a.tolist(), b.tolist()).p == pytest.approx(theirs.pvalue)


def test_many_images_are_drawn_and_agree_with_all_flips(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(0.5, 1, 12), generator.normal(0, 1, 12)
    exact = paired_difference(a.tolist(), b.tolist()).p
    monkeypatch.setattr(confidence, "EXACT_UP_TO", 0)
    assert paired_difference(a.tolist(), b.tolist()).p == pytest.approx(exact, abs=0.03)


def test_nothing_tells_apart_what_is_equal() -> None:
    found = paired_difference([3.0, 4.0], [3.0, 4.0])
    assert (found.difference.mean, found.p) == (0.0, 1.0)


def test_what_cannot_be_paired_is_refused() -> None:
    with refuses(ValueError, "2", "1"):
        paired_difference([1.0, 2.0], [1.0])
    with pytest.raises(ValueError):
        bootstrap_interval([])

"""Thresholds: what they flag in the sample they are derived from, and beyond it."""

import math

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_curve

from vaekit.anomaly.thresholds import F1, YOUDEN, by_contamination, by_false_positive_rate, by_labels

SCORES = np.random.default_rng(0).normal(size=200)


@pytest.mark.parametrize("share", [0.005, 0.05, 0.1, 0.5])
def test_contamination_flags_that_share(share: float) -> None:
    threshold = by_contamination(SCORES, share)
    assert threshold.flagged == threshold.flags(SCORES).sum() == round(share * 200)
    assert (threshold.items, threshold.wanted) == (200, share)


def test_no_contamination_flags_what_is_below_all() -> None:
    threshold = by_contamination(SCORES, 0.0)
    assert not threshold.flags(SCORES).any()
    assert threshold.flags([SCORES.min() - 0.01]).all()


def test_the_false_positive_rate_holds_for_new_items() -> None:
    random = np.random.default_rng(1)
    rates = [
        by_false_positive_rate(random.normal(size=39), 0.05).flags(random.normal(size=200)).mean() for _ in range(400)
    ]
    assert 0.02 < np.mean(rates) <= 0.055
    assert by_false_positive_rate(SCORES, 0.1).flags(SCORES).sum() <= 20


def test_too_few_items_for_a_false_positive_rate_flag_nothing() -> None:
    threshold = by_false_positive_rate(SCORES[:18], 0.05)
    assert threshold.value == -math.inf and not threshold.flags([-1e9]).any()
    assert by_false_positive_rate(SCORES[:19], 0.05).flags([-1e9]).all()


def test_labels_give_the_best_f1_and_youden() -> None:
    random = np.random.default_rng(2)
    anomalous = random.random(300) < 0.2
    scores = np.where(anomalous, random.normal(-1.5, 1, 300), random.normal(0, 1, 300)).round(2)
    best = by_labels(scores, anomalous)
    every = [f1_score(anomalous, scores < value) for value in np.append(np.unique(scores), np.inf)]
    assert f1_score(anomalous, best.flags(scores)) == pytest.approx(max(every))
    assert best.flagged == best.flags(scores).sum()
    assert best.precision == pytest.approx(anomalous[best.flags(scores)].mean())
    assert best.recall == pytest.approx(best.flags(scores)[anomalous].mean())
    youden = by_labels(scores, anomalous, YOUDEN)
    false, true, _ = roc_curve(anomalous, -scores)
    flags = youden.flags(scores)
    assert flags[anomalous].mean() - flags[~anomalous].mean() == pytest.approx((true - false).max())
    assert (best.rule, youden.rule) == (F1, YOUDEN)


def test_labels_of_one_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="3 anomalies"):
        by_labels([1, 2, 3], [True, True, True])


def test_missing_equal_and_infinite_scores() -> None:
    assert by_contamination([], 0.1).value == -math.inf
    assert by_contamination([math.nan, math.nan], 0.1).items == 0
    equal = by_contamination([1.0] * 10 + [math.nan], 0.2)
    assert equal.items == 10 and equal.flagged == 0 and not equal.flags([1.0, math.nan]).any()
    infinite = by_contamination([-math.inf, 0.0, 1.0, 2.0], 0.25)
    assert infinite.flags([-math.inf, 0.0]).tolist() == [True, False]


def test_rounding_does_not_change_what_is_flagged() -> None:
    for threshold in (by_contamination(SCORES, 0.05), by_contamination(SCORES, 0.0)):
        moved = threshold.flags(SCORES * (1 + 1e-13)), threshold.flags(SCORES * (1 - 1e-13))
        assert (moved[0] == threshold.flags(SCORES)).all() and (moved[1] == threshold.flags(SCORES)).all()

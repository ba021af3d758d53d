"""AUROC and average precision, against scikit-learn."""

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from vaekit.metrics.detection import auroc, average_precision


@pytest.mark.parametrize("decimals", [0, 1, 8])
@pytest.mark.parametrize("share", [0.02, 0.5])
def test_both_are_those_of_scikit_learn(decimals: int, share: float) -> None:
    random = np.random.default_rng(decimals)
    anomalous = random.random(500) < share
    scores = (random.normal(size=500) + anomalous).round(decimals)  # with equal scores
    assert auroc(scores, anomalous) == pytest.approx(roc_auc_score(anomalous, scores), abs=1e-12)
    assert average_precision(scores, anomalous) == pytest.approx(average_precision_score(anomalous, scores), abs=1e-12)


def test_the_ends() -> None:
    assert auroc([1, 2, 3], [False, False, True]) == 1
    assert auroc([1, 1, 1], [False, True, True]) == 0.5
    assert auroc([math.inf, -math.inf], [True, False]) == average_precision([math.inf, -math.inf], [True, False]) == 1
    assert math.isnan(auroc([1, 2], [True, True])) and math.isnan(average_precision([1, 2], [False, False]))


def test_missing_scores_are_left_out() -> None:
    assert auroc([1, 2, math.nan, 3], [False, False, True, True]) == 1
    with pytest.raises(ValueError, match="2 scores"):
        auroc([1, 2], [True])

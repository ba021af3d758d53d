import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from vaekit.metrics import detection_intervals as intervals
from vaekit.metrics.detection_intervals import both, detection_intervals


def sample(seed: int, normal: int = 60, anomalies: int = 30) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    scores = np.concatenate([random.normal(0, 1, normal), random.normal(1.2, 1, anomalies)])
    return scores, np.arange(normal + anomalies) >= normal


def test_weights_are_repetitions_of_items() -> None:
    scores, positive = sample(0)
    scores = scores.round(1)  # equal scores
    drawn = np.random.default_rng(1).integers(0, 3, len(scores)).astype(float)
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    found = both(positive[order], drawn[order], ends)
    repeated = np.repeat(np.arange(len(scores)), drawn.astype(int))
    wanted = (
        roc_auc_score(positive[repeated], scores[repeated]),
        average_precision_score(positive[repeated], scores[repeated]),
    )
    assert found == pytest.approx(wanted)


def test_intervals_cover_the_value_of_many_items() -> None:
    scores, positive = sample(99, 20_000, 10_000)
    truth = roc_auc_score(positive, scores), average_precision_score(positive, scores)
    covered = np.zeros(2)
    for seed in range(40):
        found = detection_intervals(*sample(seed))
        covered += [
            low <= value <= high
            for value, (low, high) in zip(truth, (found.auroc, found.average_precision), strict=True)
        ]
    assert (covered >= 33).all()  # 38 expected; the probability of fewer than 33 is 0.3 %


def test_many_items_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, positive = sample(3, 2000, 1000)
    whole = detection_intervals(scores, positive)
    monkeypatch.setattr(intervals, "MOST_ITEMS", 500)
    found = detection_intervals(scores, positive)
    assert found != whole
    assert np.ptp(found.auroc) == pytest.approx(np.ptp(whole.auroc), rel=0.3)


def test_separated_items_have_no_uncertainty() -> None:
    found = detection_intervals([0, 1, 2, 3], [False, False, True, True])
    assert (found.auroc, found.average_precision) == ((1, 1), (1, 1))

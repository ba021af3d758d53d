"""Intervals of AUROC and average precision, by resampling items."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 500
LEVEL = 0.95
MOST_ITEMS = 20_000
"""Of more items, a random sample of this size is resampled, and intervals are narrowed by the square root of the
ratio."""


@dataclass(frozen=True)
class DetectionIntervals:
    """95 % intervals."""

    auroc: tuple[float, float]
    average_precision: tuple[float, float]


def detection_intervals(anomaly_scores: ArrayLike, anomalous: ArrayLike, seed: int = 0) -> DetectionIntervals:
    """The intervals of AUROC and average precision, for other items of the same kinds in the same proportion.

    Normal items and anomalies are resampled separately, with replacement (Efron 1979). The interval is between the 2.5
    % and 97.5 % quantiles of the results.

    Args:
        anomaly_scores: of each item, higher for anomalies; without NaN.
        anomalous: whether each item is an anomaly; some are, and some are not.
        seed: of the resampling.
    """
    scores, positive = np.asarray(anomaly_scores, np.float64).ravel(), np.asarray(anomalous, bool).ravel()
    random, narrower = np.random.default_rng(seed), 1.0
    if len(scores) > MOST_ITEMS:
        narrower = (MOST_ITEMS / len(scores)) ** 0.5
        kept = np.sort(
            np.concatenate([some_of(np.flatnonzero(positive == kind), len(scores), random) for kind in (False, True)])
        )
        scores, positive = scores[kept], positive[kept]
    order = np.argsort(-scores, kind="stable")
    descending, positive = scores[order], positive[order]
    ends = np.flatnonzero(np.append(descending[1:] != descending[:-1], True))
    results = np.array([both(positive, weights(positive, random), ends) for _ in range(RESAMPLES)])
    whole = np.array(both(positive, np.ones(len(positive)), ends))
    share = (1 - LEVEL) / 2
    low, high = (whole + narrower * (np.quantile(results, each, axis=0) - whole) for each in (share, 1 - share))
    return DetectionIntervals((float(low[0]), float(high[0])), (float(low[1]), float(high[1])))


def some_of(items: NDArray[np.int64], total: int, random: np.random.Generator) -> NDArray[np.int64]:
    """A random sample of the items of one kind, as many as keep the proportion; at least one."""
    return random.choice(items, max(1, round(MOST_ITEMS * len(items) / total)), replace=False)


def weights(positive: NDArray[np.bool_], random: np.random.Generator) -> NDArray[np.float64]:
    """How often each item is drawn, if each kind is resampled separately."""
    drawn = np.empty(len(positive))
    for kind in (False, True):
        places = np.flatnonzero(positive == kind)
        drawn[places] = random.multinomial(len(places), np.full(len(places), 1 / len(places)))
    return drawn


def both(positive: NDArray[np.bool_], drawn: NDArray[np.float64], ends: NDArray[np.int64]) -> tuple[float, float]:
    """AUROC and average precision of weighted items in descending order of their scores.

    Args:
        positive: whether each is an anomaly.
        drawn: the weight of each.
        ends: the last item of each distinct score.
    """
    hits = np.cumsum(np.where(positive, drawn, 0))[ends]
    false = np.cumsum(np.where(positive, 0, drawn))[ends]
    recall, fallout = hits / hits[-1], false / false[-1]
    auroc = float(np.sum(np.diff(fallout, prepend=0) * (recall + np.append(0, recall[:-1])) / 2))
    flagged = hits + false
    precision = np.divide(hits, flagged, out=np.zeros_like(hits), where=flagged > 0)
    return auroc, float(np.sum(np.diff(recall, prepend=0) * precision))

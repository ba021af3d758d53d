"""How well scores detect anomalies: AUROC and average precision."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]


def auroc(anomaly_scores: ArrayLike, anomalous: ArrayLike) -> float:
    """The area under the ROC curve: the probability that an anomaly has a higher score than a normal item, with one
    half for equal scores. Exact, from ranks (Mann & Whitney 1947).

    Args:
        anomaly_scores: of each item, higher for anomalies. Items with NaN are left out.
        anomalous: whether each item is an anomaly.

    Returns:
        In [0, 1]; NaN unless there are items of both kinds.

    >>> auroc([0.1, 0.4, 0.35, 0.8], [False, False, True, True])
    0.75
    """
    scores, positive = valid(anomaly_scores, anomalous)
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(anomaly_scores: ArrayLike, anomalous: ArrayLike) -> float:
    """The mean of precision over recall, sum_t (R_t - R_{t-1}) P_t over all distinct thresholds t, as in scikit-learn.

    Args:
        anomaly_scores: of each item, higher for anomalies. Items with NaN are left out.
        anomalous: whether each item is an anomaly.

    Returns:
        In [0, 1]; NaN without anomalies.

    >>> round(average_precision([0.1, 0.4, 0.35, 0.8], [False, False, True, True]), 4)
    0.8333
    """
    scores, positive = valid(anomaly_scores, anomalous)
    if not positive.any():
        return float("nan")
    _, true_positives, flagged = counts_by_threshold(scores, positive)
    recall = true_positives / true_positives[-1]
    return float((np.diff(recall, prepend=0.0) * true_positives / flagged).sum())


def counts_by_threshold(scores: Values, positive: NDArray[np.bool_]) -> tuple[Values, Values, Values]:
    """Distinct scores, descending, and for each the number of anomalies and of all items with that score or more."""
    order = np.argsort(-scores, kind="stable")
    descending = scores[order]
    last = np.flatnonzero(np.append(descending[1:] != descending[:-1], True))
    return descending[last], np.cumsum(positive[order].astype(np.float64))[last], (last + 1).astype(np.float64)


def valid(scores: ArrayLike, positive: ArrayLike) -> tuple[Values, NDArray[np.bool_]]:
    """Both as arrays, without items whose score is NaN.

    Raises:
        ValueError: they differ in length.
    """
    values, marked = np.asarray(scores, np.float64).ravel(), np.asarray(positive, bool).ravel()
    if len(values) != len(marked):
        raise ValueError(f"{len(values)} scores and {len(marked)} labels")
    known = ~np.isnan(values)
    return values[known], marked[known]

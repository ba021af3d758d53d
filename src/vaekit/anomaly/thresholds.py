"""Thresholds: the score below which an item is flagged as an anomaly.

A threshold is between two adjacent scores of the sample that it is derived from, so that rounding does not change what
is flagged.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from vaekit.metrics.detection import Values, counts_by_threshold, valid

CONTAMINATION, FALSE_POSITIVES, F1, YOUDEN = "contamination", "false_positive_rate", "f1", "youden"
TOLERANCE = 1e-9
"""Of rounding, relative."""
RULES = (CONTAMINATION, FALSE_POSITIVES, F1, YOUDEN)


@dataclass(frozen=True)
class Threshold:
    """Items with a lower score are flagged."""

    value: float
    """-inf flags none, inf all."""
    rule: str
    """One of `RULES`."""
    wanted: float | None
    """The requested share of contamination or of false positives."""
    items: int
    """Of the sample that it is derived from."""
    flagged: int
    """Of these."""
    precision: float | None = None
    """The share of anomalies among the flagged ones, for a labelled sample."""
    recall: float | None = None
    """The share of flagged ones among the anomalies, for a labelled sample."""

    def flags(self, scores: ArrayLike) -> np.ndarray:
        """Whether items are flagged, (b,); never for NaN.

        >>> Threshold(0.5, "contamination", 0.1, 10, 1).flags([0.2, 0.5, float("nan")]).tolist()
        [True, False, False]
        """
        return np.asarray(scores, np.float64) < self.value


def by_contamination(scores: ArrayLike, share: float) -> Threshold:
    """Flag this share of a sample, rounded to whole items; fewer where scores are equal.

    Args:
        scores: of the sample. NaN is ignored.
        share: of anomalies that the sample is assumed to have, in [0, 1).
    """
    values = ascending(scores)
    return below(values, round(share * len(values)), CONTAMINATION, share)


def by_false_positive_rate(scores: ArrayLike, share: float) -> Threshold:
    """Flag a new normal item with at most this probability, if normal items are exchangeable with those of the sample:
    the conformal quantile (Bates et al. 2023, Ann. Statist. 51(1)).

    Args:
        scores: of normal items that the VAE was not trained on; others seem more normal than new ones. NaN is ignored.
            With fewer than 1 / share - 1 items nothing can be flagged.
        share: in [0, 1).
    """
    values = ascending(scores)
    # A tolerance, as 0.05 * 20 may be slightly less than 1.
    count = math.floor(share * (len(values) + 1) + TOLERANCE) - 1
    if count < 0:
        return Threshold(-math.inf, FALSE_POSITIVES, share, len(values), 0)
    return below(values, count, FALSE_POSITIVES, share)


def by_labels(scores: ArrayLike, anomalous: ArrayLike, rule: str = F1) -> Threshold:
    """The threshold that separates a labelled sample best; of equally good ones, that which flags fewest.

    Args:
        scores: of the sample. NaN is ignored.
        anomalous: whether each item is an anomaly.
        rule: "f1" for the highest F1, the harmonic mean of precision and recall, which suits a sample with the share of
            anomalies that is expected in use; "youden" for the highest recall minus false-positive rate (Youden 1950),
            which does not depend on that share.

    Raises:
        ValueError: there is no such rule, or the sample has no anomaly or no normal item.
    """
    values, positive = valid(scores, anomalous)
    anomalies = int(positive.sum())
    normal = len(values) - anomalies
    if rule not in (F1, YOUDEN) or not anomalies or not normal:
        raise ValueError(f"the rule is {rule}, with {anomalies} anomalies and {normal} normal items")
    _, found, flagged = counts_by_threshold(-values, positive)
    gain = 2 * found / (flagged + anomalies) if rule == F1 else found / anomalies - (flagged - found) / normal
    best = int(np.argmax(gain))
    threshold = below(np.sort(values), int(flagged[best]), rule, None)
    return Threshold(
        threshold.value,
        rule,
        None,
        len(values),
        threshold.flagged,
        float(found[best] / flagged[best]),
        float(found[best] / anomalies),
    )


def ascending(scores: ArrayLike) -> Values:
    """Sorted scores, without NaN."""
    values = np.asarray(scores, np.float64).ravel()
    return np.sort(values[~np.isnan(values)])


def below(values: Values, count: int, rule: str, wanted: float | None) -> Threshold:
    """The threshold with at most `count` of ascending values below it."""
    n = len(values)
    if count >= n:
        return Threshold(math.inf if n else -math.inf, rule, wanted, n, n)
    flagged = int(np.searchsorted(values, values[count], side="left"))  # equal values are on one side
    if not flagged:
        lowest = float(values[0])
        return Threshold(lowest - TOLERANCE * max(1.0, abs(lowest)), rule, wanted, n, 0)
    return Threshold(between(float(values[flagged - 1]), float(values[flagged])), rule, wanted, n, flagged)


def between(low: float, high: float) -> float:
    """A value above `low` and at most `high`, in the middle if both are finite.

    >>> between(-3.0, -1.0), between(float("-inf"), -1.0)
    (-2.0, -1.0)
    """
    if not math.isfinite(high - low):
        return high
    middle = low + (high - low) / 2
    return middle if middle > low else high

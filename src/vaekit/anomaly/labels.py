"""Labels of items as normal or anomalous."""

from collections.abc import Iterable

from vaekit.errors import NoTrainingData, printable, shorten

NORMAL = frozenset(
    {"0", "good", "normal", "inlier", "inliers", "ok", "false", "no", "none", "benign", "n", "healthy", "negative"}
)
"""Usual labels of normal items, in lower case."""
SIGNED = frozenset({"1", "-1"})
"""The labels of scikit-learn's outlier detectors, where 1 is normal."""


def normal_label(labels: Iterable[str | None], wanted: str | None = None) -> str:
    """The label of normal items.

    >>> normal_label(["good", "broken", None, "good"]), normal_label(["1", "-1"])
    ('good', '1')

    Args:
        labels: of all items; None for unlabelled ones.
        wanted: the label that the user names; None for a usual one.

    Raises:
        NoTrainingData: no item has this label, or not exactly one label is a usual one.
    """
    present = {plain_label(label): label for label in labels if label is not None}
    if wanted is not None:
        candidates = {plain_label(wanted)} & present.keys()
    else:
        candidates = {"1"} if present.keys() == SIGNED else present.keys() & NORMAL
    if len(candidates) == 1:
        return candidates.pop()
    which = "not exactly one is usual for normal items" if wanted is None else f"none is {printable(repr(wanted))}"
    raise NoTrainingData(
        f"Of the labels {shorten(sorted(map(str, present.values()))) or '(there are none)'}, {which}.",
        "Expected a label of normal items, such as 0, good or normal.",
        "Name it with --normal LABEL.",
    )


def has_usual_label(labels: Iterable[str]) -> bool:
    """Whether there are several labels, and one of them is a usual one of normal items.

    >>> has_usual_label(["good", "scratch"]), has_usual_label(["cat", "dog"])
    (True, False)
    """
    present = {plain_label(label) for label in labels}
    return len(present) > 1 and len(present & NORMAL) == 1


def plain_label(label: str) -> str:
    """A label for comparison: in lower case, and whole numbers without decimals.

    >>> plain_label(" 1.0 "), plain_label("Good")
    ('1', 'good')
    """
    text = label.strip().lower()
    try:
        value = float(text)
    except ValueError:
        return text
    return str(int(value)) if value.is_integer() else text

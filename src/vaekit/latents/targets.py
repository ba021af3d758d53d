"""Labels as numbers: values of a property of items, or membership in one of two classes."""

import math
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vaekit.errors import BadPlan, did_you_mean, printable, shorten

MOST_CLASSES = 20
"""Of a column with more classes, none is a target by itself."""
LEAST_ITEMS = 2
"""Of each class; of a property, one more."""
LARGEST = 1e100
"""Of the numbers of a property."""


@dataclass(frozen=True, eq=False)
class Target:
    """What a direction or a probe is fitted to."""

    name: str
    values: Float[Tensor, "n"]
    """In float64; of classes 0 and 1; of items without a label NaN."""
    weights: Float[Tensor, "n"]
    """Sum to 1; 0 for items without a label. All classes of one side count equally, and so do both sides."""
    classes: tuple[str, str] | None = None
    """What 0 and 1 stand for; None for a property."""

    @property
    def known(self) -> Tensor:
        """The indices of the items with a label."""
        return self.weights.nonzero().flatten()

    @property
    def mean(self) -> float:
        """The weighted mean of the values."""
        return (self.weights * self.values.nan_to_num()).sum().item()

    @property
    def std(self) -> float:
        """The weighted standard deviation of the values: 1/2 for classes."""
        return (self.weights * (self.values.nan_to_num() - self.mean).square()).sum().sqrt().item()


def target_of(name: str, labels: Sequence[str | None], positive: str | None = None) -> Target:
    """The target of a column of labels.

    Numbers with more than two values are a property. Otherwise labels are classes: of two, the last one in alphabetical
    order is positive, where none is chosen.

    Args:
        name: of the column.
        labels: of items; None for those without one.
        positive: the class that the direction leads to, away from all others.

    Raises:
        BadPlan: there are too few labels, only one value, or many classes of which none is chosen.
    """
    counts = Counter(label for label in labels if label is not None)
    if positive is not None and positive not in counts:
        raise BadPlan(
            f"No label in {printable(name)} is {printable(repr(positive))}.",
            f"The labels are {shorten(sorted(counts))}.",
            did_you_mean(positive, counts),
        )
    if len(counts) < 2:
        found = f"only the label {printable(next(iter(counts)))!r}" if counts else "no labels"
        raise BadPlan(f"{printable(name)} has {found}.", "Expected two or more different ones.", "Give other data.")
    numbers = finite_numbers(labels) if positive is None and len(counts) > 2 else None
    if numbers is not None:
        return property_target(name, numbers)
    classes = sorted(counts, key=natural_order)
    if positive is None and len(classes) > 2:
        odd = next(label for label in classes if not is_finite_number(label))
        raise BadPlan(
            f"{printable(name)} has {len(classes):,} different labels that are not all numbers, such as "
            f"{printable(repr(odd))}: {shorten(classes)}.",
            "Expected numbers, two classes, or one class that is chosen.",
            "Choose the class that the direction leads to with --positive.",
        )
    chosen = classes[-1] if positive is None else positive
    rare = next((label for label in classes if counts[label] < LEAST_ITEMS), None)
    if rare is not None and (rare == chosen or len(classes) == 2):
        raise BadPlan(
            f"Only one item has the label {printable(repr(rare))} in {printable(name)}.",
            f"Expected {LEAST_ITEMS} or more.",
            "Give more data.",
        )
    return class_target(name, labels, chosen)


def every_target(name: str, labels: Sequence[str | None]) -> list[Target]:
    """All targets of a column: a property, two classes, or each of a few classes; none of other columns."""
    counts = Counter(label for label in labels if label is not None)
    if len(counts) < 2:
        return []
    if len(counts) > 2 and finite_numbers(labels) is not None:
        with suppress(BadPlan):
            return [target_of(name, labels)]
        return []
    frequent = [label for label in sorted(counts, key=natural_order) if counts[label] >= LEAST_ITEMS]
    if not len(counts) <= MOST_CLASSES or len(frequent) < 2:
        return []
    chosen = frequent[-1:] if len(counts) == 2 else frequent
    return [class_target(name if len(counts) == 2 else f"{name} = {each}", labels, each) for each in chosen]


def property_target(name: str, numbers: Sequence[float]) -> Target:
    """The target of numbers; NaN for items without a label.

    Raises:
        BadPlan: there are fewer than three numbers, or their standard deviation cannot be computed.
    """
    values = torch.tensor(numbers, dtype=torch.float64)
    known = values.isfinite()
    count = int(known.sum())
    if count <= LEAST_ITEMS:
        raise BadPlan(f"{printable(name)} has {count} numbers.", f"Expected {LEAST_ITEMS + 1} or more.", "")
    target = Target(name, values, known.double() / count)
    if not (values[known].abs().max() <= LARGEST and target.std > 0):
        raise BadPlan(
            f"{printable(name)} has numbers that are too large, or too similar.",
            f"Expected different numbers up to {LARGEST:g}.",
            "Scale or shift them.",
        )
    return target


def class_target(name: str, labels: Sequence[str | None], positive: str) -> Target:
    """The target of classes: `positive` against all others."""
    counts = Counter(label for label in labels if label is not None)
    others = [label for label in counts if label != positive]
    share = {label: 0.5 / counts[label] / (1 if label == positive else len(others)) for label in counts}
    values = [math.nan if label is None else float(label == positive) for label in labels]
    weights = [0.0 if label is None else share[label] for label in labels]
    negative = others[0] if len(others) == 1 else "others"
    return Target(
        name,
        torch.tensor(values, dtype=torch.float64),
        torch.tensor(weights, dtype=torch.float64),
        (negative, positive),
    )


def finite_numbers(labels: Sequence[str | None]) -> list[float] | None:
    """Labels as numbers, NaN for missing ones; None if some labels are not numbers."""
    if not all(label is None or is_finite_number(label) for label in labels):
        return None
    return [math.nan if label is None else float(label) for label in labels]


def is_finite_number(text: str) -> bool:
    """Whether a text is a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def natural_order(label: str) -> tuple[bool, float, str]:
    """A key for sorting: numbers by value, before all other labels."""
    number = is_finite_number(label)
    return not number, float(label) if number else 0.0, label

"""Functions of items as a domain writes them: properties, and a measure of similarity.

They have no gradients. Items that they are not defined for get NaN.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaekit.errors import NotFound, did_you_mean

MeasureItems = Callable[[Sequence[Any]], Sequence[float]]
"""Items -> a number for each; NaN for items that have none."""


@dataclass(frozen=True)
class ItemValues:
    """A property of some items."""

    name: str
    """For people: "QED"."""
    values: Sequence[float]
    """One for each item; NaN for those without it."""


@dataclass(frozen=True)
class Captions:
    """What people are shown of each item beside it, in files that have room for it, such as drawings."""

    titles: Sequence[str] = ()
    """The name of each item, or "" for none; empty if no item has one."""
    values: Sequence[ItemValues] = ()
    """Properties of the items; empty for those that the domain shows by default."""


NO_CAPTIONS = Captions()


@dataclass(frozen=True, eq=False)
class ItemSimilarity:
    """A measure of similarity of two items, from 0 to 1 for equal ones."""

    name: str
    """For people: "Tanimoto"."""
    between: Callable[[Sequence[Any], Sequence[Any]], Sequence[float]]
    """Two lists of equally many items -> the similarity of each pair; NaN for items that have none."""
    along_paths: "ItemSimilarity | None" = None
    """What orders the points of a path between items, where that is another measure."""

    def of_pairs(self, one: Sequence[Any], other: Sequence[Any]) -> Tensor:
        """The similarity of each pair, (n,) in float64."""
        return as_numbers(self.between(one, other))


def as_numbers(values: Sequence[float]) -> Tensor:
    """Numbers (n,) in float64."""
    return torch.from_numpy(np.array(values, np.float64))


def named(functions: Mapping[str, MeasureItems], name: str) -> MeasureItems:
    """The function of a name, in any case of its letters.

    Raises:
        NotFound: there is none.
    """
    lower = {each.lower(): function for each, function in functions.items()}
    found = functions.get(name, lower.get(name.lower()))
    if found is None:
        raise NotFound(
            f"There is no property {name!r} of items.",
            f"Expected one of {', '.join(functions)}." if functions else "",
            did_you_mean(name, functions),
        )
    return found

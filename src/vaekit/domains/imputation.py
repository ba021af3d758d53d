"""Types for filling in the missing values of items."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaekit.evaluation.vae_pass import VAEPass


@dataclass(frozen=True)
class ImputedValue:
    """A missing value that was filled in."""

    item: str
    """The name of the item, such as the file and line of a row."""
    place: str
    """Where in the item: the name of a column."""
    value: str
    low: str = ""
    """Of a number, the lower end of its 90 % interval."""
    high: str = ""
    probability: float | None = None
    """Of a category."""


@dataclass(frozen=True)
class ImputedItems:
    """Items without missing values."""

    items: Sequence[Any]
    """As the domain writes them."""
    values: Sequence[ImputedValue]
    """What was filled in."""


Impute = Callable[[VAEPass, Sequence[Any]], ImputedItems]
"""(items in a VAE, and as they are in their file) -> the same items without missing values."""
WriteValues = Callable[[Sequence[ImputedValue], Path], None]
"""Writes what was filled in; CannotWrite if the disk is full."""


@dataclass(frozen=True)
class Imputer:
    """Fills in missing values of the items of a domain."""

    impute: Impute
    write: WriteValues

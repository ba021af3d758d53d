"""Cumulative probabilities as integers that are the same on every machine."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from vaekit.codec.types import Integers

BITS = 24
"""The precision of cumulative probabilities."""
MARGIN = 2.0**-18
"""How near to a boundary of rounding a scaled probability is recorded: 2.3e-13 as a probability. Networks in double
precision differ by some 1e-15 from machine to machine."""


class Place(NamedTuple):
    """Where in a file probabilities are rounded."""

    item: int
    part: int
    """Of the coding of an item, such as its latent."""
    step: int
    """Of a part: the decision about each variable, in order."""


class Correction(NamedTuple):
    """What a scaled probability near a boundary was rounded to."""

    place: Place
    variable: int
    value: int


@runtime_checkable
class Rounding(Protocol):
    """Rounds scaled probabilities, in the same way when a file is written and read."""

    def round(self, scaled: Tensor, place: Place) -> Integers:
        """Values (n,) in double precision -> the nearest integers (n,)."""


@dataclass
class Recording:
    """Rounds, and records the values that another machine might round in another way. They are part of the file (Tian
    et al. 2024, arXiv 2410.09872, do this for quantized latents)."""

    margin: float = MARGIN
    corrections: list[Correction] = field(default_factory=list)

    def round(self, scaled: Tensor, place: Place) -> Integers:
        values = scaled.cpu().numpy()
        rounded = np.rint(values)
        uncertain = np.abs(np.abs(values - rounded) - 0.5) < self.margin
        integers = rounded.astype(np.int64)
        for variable in np.flatnonzero(uncertain).tolist():
            self.corrections.append(Correction(place, variable, int(integers[variable])))
        return integers


class Replaying:
    """Rounds like the `Recording` that wrote a file.

    Args:
        corrections: those of the file.
    """

    def __init__(self, corrections: Iterable[Correction]) -> None:
        self._values: dict[Place, list[tuple[int, int]]] = {}
        for place, variable, value in corrections:
            self._values.setdefault(place, []).append((variable, value))

    @property
    def places(self) -> Mapping[Place, list[tuple[int, int]]]:
        """The corrections of each place: variables and values."""
        return self._values

    def round(self, scaled: Tensor, place: Place) -> Integers:
        integers = np.rint(scaled.cpu().numpy()).astype(np.int64)
        for variable, value in self._values.get(place, ()):
            if variable < len(integers):
                integers[variable] = value
        return integers

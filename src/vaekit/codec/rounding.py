"""Cumulative probabilities as integers that are the same on every machine."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from vaekit.codec.types import Integers

MARGIN = 2.0**-44
"""How near to a boundary between two integers a probability is recorded: 5.7e-14. Networks in double precision differ
by some 1e-15 from machine to machine."""
WIDE_MARGIN = 2.0**-34
"""The same for functions that amplify such differences, such as the softmax of sums of many squares. It is for
distributions of few variables, since values nearer than this are not rare."""


class Place(NamedTuple):
    """Where in a chain probabilities are rounded."""

    batch: int
    part: int
    """Of the coding of a batch, such as its latents."""
    step: int
    """Of a part: the decision about each variable, in order."""


class Correction(NamedTuple):
    """To which of the two integers around it a scaled probability was rounded that is in the middle between them."""

    place: Place
    variable: int
    odd: bool


@runtime_checkable
class Rounding(Protocol):
    """Rounds scaled probabilities, in the same way when a file is written and read."""

    def round(self, probabilities: Tensor, shares: Tensor, place: Place) -> Integers:
        """Probabilities (n,) in double precision and integers that they are multiplied by (n,) -> the nearest integers
        (n,)."""

    def wide(self) -> "Rounding":
        """The same with `WIDE_MARGIN`."""


@dataclass
class Recording:
    """Rounds, and records the values that another machine might round in another way. They become part of the file
    (Tian et al. 2024, arXiv 2410.09872, do this for quantized latents)."""

    margin: float = MARGIN
    corrections: list[Correction] = field(default_factory=list)

    def round(self, probabilities: Tensor, shares: Tensor, place: Place) -> Integers:
        values = (probabilities * shares).numpy()
        rounded = np.rint(values)
        integers = rounded.astype(np.int64)
        uncertain = 0.5 - np.abs(values - rounded) < self.margin * shares.numpy()
        for variable in np.flatnonzero(uncertain).tolist():
            self.corrections.append(Correction(place, variable, bool(integers[variable] % 2)))
        return integers

    def wide(self) -> "Recording":
        """The same with `WIDE_MARGIN`; it shares the list of corrections."""
        return Recording(WIDE_MARGIN, self.corrections)


class Replaying:
    """Rounds as the `Recording` did that wrote a file.

    Args:
        corrections: those of the file.
    """

    def __init__(self, corrections: Iterable[Correction]) -> None:
        self._odd: dict[Place, list[tuple[int, bool]]] = {}
        for place, variable, odd in corrections:
            self._odd.setdefault(place, []).append((variable, odd))

    def round(self, probabilities: Tensor, shares: Tensor, place: Place) -> Integers:
        values = (probabilities * shares).numpy()
        integers = np.rint(values).astype(np.int64)
        for variable, odd in self._odd.get(place, ()):
            if variable < len(integers) and integers[variable] % 2 != odd:
                integers[variable] += 1 if values[variable] > integers[variable] else -1
        return integers

    def wide(self) -> "Replaying":
        """The same: the margin is a matter of the writer."""
        return self

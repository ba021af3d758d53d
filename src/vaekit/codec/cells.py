"""Code variables that take one of a number of cells, by the cumulative probability at their edges."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from vaekit.codec.bit_stack import BitStack
from vaekit.codec.rounding import Place, Rounding
from vaekit.codec.types import Bits, Integers, Probabilities

MOST_CELLS = 2**24
"""Of a variable."""
BITS, SPARE = 24, 8
"""The precision of cumulative probabilities: of variables with more than 2^(BITS - SPARE) cells, SPARE bits more than
their cells need, so that the least probability that each cell gets is not much in all."""
Choose = Callable[[Integers, Integers, Probabilities], Bits]
"""(cells in the middle, variables, probabilities of the upper half from the middle on), each (m,) -> whether each
variable is in the upper half."""


@runtime_checkable
class Cells(Protocol):
    """n independent variables, each of which is in one of K cells in order."""

    @property
    def counts(self) -> Integers:
        """K of each variable, (n,), 1 to `MOST_CELLS`."""

    def cumulative(self, edges: Tensor, chosen: Tensor) -> Tensor:
        """The probability that a variable is in a cell below an edge, in double precision, (m,).

        Args:
            edges: the number of a cell, whose lower edge is meant, 1 to K - 1, (m,).
            chosen: the variables, (m,).
        """


Decision = tuple[Bits, Probabilities]
"""A bit for each of some variables, with the probabilities of ones."""


def decisions(cells: Cells, values: Integers, rounding: Rounding, place: Place) -> list[Decision]:
    """The bits that tell the cells of variables.

    Args:
        cells: the distribution.
        values: the cell of each variable, (n,), 0 to K - 1.
        rounding: of probabilities.
        place: the first place for roundings; steps count from its own.
    """
    made: list[Decision] = []
    # Checked here because a file with such a value could be written, but not read.
    assert ((values >= 0) & (values < cells.counts)).all(), "a value is in none of the cells"

    def record(middle: Integers, which: Integers, upper: Probabilities) -> Bits:
        bits = values[which] >= middle
        made.append((bits, upper))
        return bits

    _search(cells, rounding, place, record)
    return made


def push_decisions(stack: BitStack, made: Sequence[Decision]) -> None:
    """Push bits, the last ones first."""
    for bits, probabilities in reversed(made):
        stack.push(bits, probabilities)


def pop_cells(stack: BitStack, cells: Cells, rounding: Rounding, place: Place) -> Integers:
    """Pop the cells of variables (n,): the inverse of pushing their decisions, or a sample if other bits are on the
    stack."""
    return _search(cells, rounding, place, lambda _middle, _which, upper: stack.pop(upper))


def totals_of(counts: Integers) -> Integers:
    """The units that the probability of each variable is divided into."""
    bits = np.ceil(np.log2(np.maximum(counts, 1))).astype(np.int64)
    return np.left_shift(np.int64(1), np.maximum(BITS, bits + SPARE))


def _search(cells: Cells, rounding: Rounding, place: Place, choose: Choose) -> Integers:
    """Halve the range of cells of each variable until one is left.

    The probability of a half follows from integers, so that it is the same on every machine. Each cell has one of the
    units of the total in addition to its probability, so that none is impossible.
    """
    counts = cells.counts
    totals = totals_of(counts)
    low, high = np.zeros_like(counts), counts.copy()
    below, above = np.zeros_like(counts), totals.copy()
    step = place.step
    while len(which := np.flatnonzero(high - low > 1)):
        middle = (low[which] + high[which]) // 2
        floor, ceiling = below[which] + middle - low[which], above[which] - (high[which] - middle)
        probability = cells.cumulative(torch.from_numpy(middle), torch.from_numpy(which))
        shares = torch.from_numpy(totals[which] - counts[which])
        rounded = rounding.round(probability, shares, place._replace(step=step))
        cut = np.clip(rounded + middle, floor, ceiling)
        upper = choose(middle, which, (above[which] - cut) / (above[which] - below[which]))
        low[which], below[which] = np.where(upper, middle, low[which]), np.where(upper, cut, below[which])
        high[which], above[which] = np.where(upper, high[which], middle), np.where(upper, above[which], cut)
        step += 1
    return low

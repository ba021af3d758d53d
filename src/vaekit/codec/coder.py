"""Variables on the stack of bits, with exact probabilities: what all parts of the coding of a batch use."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vaekit.codec.bit_stack import BitStack
from vaekit.codec.cells import Cells, Decision, decisions, pop_cells, push_decisions
from vaekit.codec.rounding import Place, Rounding
from vaekit.codec.types import Integers

PRIOR, POSTERIOR, DATA = range(3)
"""The distributions of a batch."""


def part(kind: int, step: int = 0) -> int:
    """The number of a step of the prior, the posterior or the data, for `Place.part`."""
    return 3 * step + kind


@dataclass(frozen=True, eq=False)
class Coder:
    """The stack, for one batch of a chain."""

    stack: BitStack
    rounding: Rounding
    batch: int
    """The number of the batch."""

    def decisions(self, cells: Cells, values: Integers, part: int, wide: bool = False) -> list[Decision]:
        """The bits that tell variables (n,), without pushing them. For `part` and `wide` see `pop`."""
        return decisions(cells, values, self._rounding(wide), Place(self.batch, part, 0))

    def push(self, cells: Cells, values: Integers, part: int, wide: bool = False) -> None:
        """Push variables (n,), so that `pop` returns them; see there."""
        push_decisions(self.stack, self.decisions(cells, values, part, wide))

    def pop(self, cells: Cells, part: int, wide: bool = False) -> Integers:
        """Pop variables (n,).

        Args:
            cells: their distribution.
            part: a number of its own for each distribution of the batch, see `part`.
            wide: whether probabilities may differ between machines by more than usual, see `Rounding.wide`.
        """
        return pop_cells(self.stack, cells, self._rounding(wide), Place(self.batch, part, 0))

    def _rounding(self, wide: bool) -> Rounding:
        return self.rounding.wide() if wide else self.rounding


def bits_of(made: Sequence[Decision]) -> float:
    """The size of decisions."""
    return -sum(float(np.log2(np.where(bits, upper, 1 - upper)).sum()) for bits, upper in made)

"""The intermediate representation: a network as a list of operations on values with known rows."""

import math
from dataclasses import dataclass

import torch

from vaekit.runtime.streaming.operations import Operation, Reduction, Window


@dataclass(frozen=True)
class Input:
    """A value that a step needs: the rows in a window, or the whole of it where there is no window."""

    step: int
    window: Window | None


@dataclass(frozen=True)
class Step:
    """One operation, on values that earlier steps made. The first stands for the network's input."""

    operation: Operation | None
    inputs: tuple[Input, ...]
    shape: tuple[int, ...]
    dtype: torch.dtype
    axis: int | None
    """The axis of the value that holds its rows; None for one that has none, such as a mean over all positions."""
    rows: int
    """How many rows there are; 0 without an axis."""
    label: str = ""
    """The name of the layer whose weights are used."""

    @property
    def unit(self) -> int:
        """Positions along the axis that make one row: the width, where rows and columns were merged."""
        return self.shape[self.axis] // self.rows if self.axis is not None else 0

    @property
    def bytes_per_row(self) -> int:
        return self.nbytes // self.rows if self.rows else 0

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def reduces(self) -> bool:
        """Whether it takes all rows to make the value."""
        return isinstance(self.operation, Reduction)

    @property
    def whole(self) -> bool:
        """Whether the operation is run once, on whole values."""
        return self.operation is not None and not self.reduces and all(each.window is None for each in self.inputs)

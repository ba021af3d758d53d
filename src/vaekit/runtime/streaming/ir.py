"""The intermediate representation: a network as a list of operations on values with known rows."""

import math
from dataclasses import dataclass

import torch

from vaekit.runtime.streaming.operations import Operation, Reduction, Window


@dataclass(frozen=True)
class Input:
    """An input of a step: the rows in a window, or the whole value if there is no window."""

    step: int
    window: Window | None


@dataclass(frozen=True)
class Step:
    """One operation on the values of earlier steps. The first step represents the network's input."""

    operation: Operation | None
    inputs: tuple[Input, ...]
    shape: tuple[int, ...]
    dtype: torch.dtype
    axis: int | None
    """The axis of the rows; None for a value without rows, such as a mean over all positions."""
    rows: int
    """The number of rows; 0 without an axis."""
    label: str = ""
    """The name of the layer whose weights are used."""

    @property
    def unit(self) -> int:
        """Positions along the axis per row: the width if rows and columns were merged."""
        return self.shape[self.axis] // self.rows if self.axis is not None else 0

    @property
    def bytes_per_row(self) -> int:
        return self.nbytes // self.rows if self.rows else 0

    def shape_of(self, rows: int) -> tuple[int, ...]:
        """The shape of some rows of the value."""
        assert self.axis is not None
        return (*self.shape[: self.axis], rows * self.unit, *self.shape[self.axis + 1 :])

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def reduces(self) -> bool:
        """Whether the value depends on all rows."""
        return isinstance(self.operation, Reduction)

    @property
    def whole(self) -> bool:
        """Whether the operation runs once, on whole values."""
        return self.operation is not None and not self.reduces and all(each.window is None for each in self.inputs)

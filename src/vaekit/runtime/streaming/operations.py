"""Operations on a few rows of a map at a time.

An operation computes rows a..b of its output from rows of its inputs: the same rows, or a window around each row. It
gets the rows of the window that are inside the map; rows beyond its ends are padding, which the operation adds itself.
Maps are mostly (1, c, h, w), or (1, c, t) with a row for each position in time, but rows may be along any axis, and
several positions may form one row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from vaekit.runtime.streaming.tracing import replaced


@dataclass(frozen=True)
class Window:
    """The input rows of an output row: `kernel` rows from (row // enlarge) * stride - before."""

    kernel: int = 1
    stride: int = 1
    before: int = 0
    enlarge: int = 1

    def first(self, row: int) -> int:
        """The first input row that an output row and all later ones read; negative above the top."""
        return row // self.enlarge * self.stride - self.before

    def end(self, end: int) -> int:
        """One past the last input row that the output rows up to `end` read, regardless of the bottom."""
        return self.first(end - 1) + self.kernel


SAME_ROW = Window()


@dataclass(frozen=True)
class Slot:
    """The place of an input among the arguments of a function."""

    index: int


@dataclass(frozen=True)
class PerRow:
    """A number among the arguments of a function that is proportional to the number of rows."""

    count: int


@runtime_checkable
class Operation(Protocol):
    """An operation on rows."""

    @property
    def cheap(self) -> bool:
        """Whether recomputing the output is faster than storing it."""

    def run(self, rows: tuple[int, int], inputs: Sequence[Tensor]) -> Tensor:
        """Rows a..b of the output."""


@dataclass(frozen=True)
class Apply:
    """A torch function that treats all rows alike, or needs no rows."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    cheap: bool = True
    returns_view: bool = False
    """Whether the output is a view of an input."""

    def run(self, rows: tuple[int, int], inputs: Sequence[Tensor]) -> Tensor:
        count = rows[1] - rows[0]
        args, kwargs = (
            replaced(replaced(each, lambda slot: inputs[slot.index], Slot), lambda number: number.count * count, PerRow)
            for each in (self.args, self.kwargs)
        )
        return self.function(*args, **kwargs)

    @property
    def can_overwrite(self) -> bool:
        """Whether it can run in place: an activation, or the sum of two tensors."""
        sums = self.function in SUMS and self.args == (Slot(0), Slot(1)) and not self.kwargs
        return sums or self.function in IN_PLACE

    def overwrite(self, inputs: Sequence[Tensor], index: int) -> Tensor:
        """The same as `run`, in place of the input at an index."""
        if self.function in IN_PLACE:
            return IN_PLACE[self.function](inputs[index])
        return inputs[index].add_(inputs[1 - index])


IN_PLACE: dict[Callable[..., Any], Callable[[Tensor], Tensor]] = {
    F.silu: lambda x: F.silu(x, inplace=True),
    F.relu: torch.relu_,
    torch.relu: torch.relu_,
}
"""Activations and their in-place variants."""
SUMS = (Tensor.add, Tensor.__add__, Tensor.__radd__, torch.add)


CONVOLUTIONS: tuple[Callable[..., Tensor], ...] = (F.conv1d, F.conv2d)
"""Convolutions, by the number of axes less one."""
TRANSPOSED: tuple[Callable[..., Tensor], ...] = (F.conv_transpose1d, F.conv_transpose2d)
"""The same for transposed convolutions."""


@dataclass(frozen=True)
class Convolve:
    """A convolution of a padded map; rows are along the first axis of the kernel."""

    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    relu: bool = False
    """Whether it includes a ReLU."""

    CHEAP_PRODUCTS = 40

    @property
    def cheap(self) -> bool:
        """Convolutions of an image are cheap: reading a stored output takes as long."""
        return self.weight[0].numel() <= self.CHEAP_PRODUCTS

    def run(self, rows: tuple[int, int], inputs: Sequence[Tensor]) -> Tensor:
        convolve = CONVOLUTIONS[self.weight.dim() - 3]
        output = convolve(inputs[0], self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
        return torch.relu_(output) if self.relu else output


@dataclass(frozen=True)
class ConvolveTransposed:
    """A transposed convolution: with stride s, s output rows form a group that depends on the same input rows.

    Input row i contributes to the output rows i * s - padding + j * dilation for all rows j of the kernel. Padding and
    additional rows of the output apply to columns only; those of rows are given by the number of rows.
    """

    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    output_padding: tuple[int, ...]
    groups: int
    dilation: tuple[int, ...]
    rows_in: int
    cheap: bool = False

    @property
    def window(self) -> Window:
        """The input rows of a group: from the last tap of its first row to the first tap of its last row."""
        stride, padding = self.stride[0], self.padding[0]
        before = (self.dilation[0] * (self.weight.shape[2] - 1) - padding) // stride
        after = (stride - 1 + padding) // stride
        return Window(kernel=before + 1 + after, before=before, enlarge=stride)

    def run(self, rows: tuple[int, int], inputs: Sequence[Tensor]) -> Tensor:
        (x,), (stride, *_), count = inputs, self.stride, rows[1] - rows[0]
        first = max(0, min(self.window.first(rows[0]), self.rows_in))
        start = rows[0] - (first * stride - self.padding[0])
        length = (x.shape[2] - 1) * stride + self.dilation[0] * (self.weight.shape[2] - 1) + 1 if x.shape[2] else 0
        if start >= 0 and start + count <= length:
            return self._convolved(x, self.bias).narrow(2, start, count)
        shape = (1, self.weight.shape[1] * self.groups, 0, *self._columns(x))
        reached = self._convolved(x, None) if length else x.new_zeros(shape)
        # Rows that no row of the input reaches, at the ends of the map; a negative amount crops.
        output = F.pad(reached, (*[0, 0] * (x.dim() - 3), -start, start + count - length))
        return output if self.bias is None else output.add_(self.bias.view(-1, *[1] * (x.dim() - 2)))

    def _convolved(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """All rows that rows of the input reach, without padding of rows."""
        padding, more = (0, *self.padding[1:]), (0, *self.output_padding[1:])
        convolve = TRANSPOSED[self.weight.dim() - 3]
        return convolve(x, self.weight, bias, self.stride, padding, more, self.groups, self.dilation)

    def _columns(self, x: Tensor) -> tuple[int, ...]:
        """The number of columns of the output, if there are any."""
        settings = (self.stride, self.padding, self.output_padding, self.dilation, self.weight.shape[2:])
        return tuple(
            (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + more + 1
            for size, (stride, padding, more, dilation, kernel) in zip(
                x.shape[3:], [*zip(*settings, strict=True)][1:], strict=True
            )
        )


@dataclass(frozen=True)
class Pad:
    """Padding of a map: (left, right, top, bottom), or (top, bottom) without columns, as in
    `torch.nn.functional.pad`."""

    amounts: tuple[int, ...]
    mode: str
    value: float
    rows_in: int
    cheap: bool = True

    @property
    def window(self) -> Window:
        """Rows beyond the ends are copied from inside: a reflected one from twice its distance to the end."""
        *_, top, bottom = self.amounts
        reach = REACH[self.mode]
        return Window(kernel=reach * (top + bottom) + 1, before=top + reach * bottom)

    def run(self, rows: tuple[int, int], inputs: Sequence[Tensor]) -> Tensor:
        *sides, top, _ = self.amounts
        (x,), (a, b) = inputs, (rows[0] - top, rows[1] - top)
        above, below = (min(b - a, max(0, beyond)) for beyond in (-a, b - self.rows_in))
        if self.mode == "constant":
            return F.pad(x, (*sides, above, below), value=self.value)
        first = max(0, min(self.window.first(rows[0]), self.rows_in))
        wanted = torch.tensor([inside(row, self.rows_in, self.mode) - first for row in range(a, b)], device=x.device)
        selected = x.index_select(2, wanted)
        return F.pad(selected, (*sides, 0, 0), mode=self.mode) if any(sides) else selected


REACH = {"constant": 0, "replicate": 1, "reflect": 2}
"""The distance from a padded row to its source, relative to its distance from the end."""


def inside(row: int, rows: int, mode: str) -> int:
    """The row inside the map that a padded row copies."""
    if mode == "replicate":
        return min(max(row, 0), rows - 1)
    row = abs(row)
    return row if row < rows else 2 * (rows - 1) - row


@dataclass(frozen=True)
class Moments:
    """Mean and variance of each group of channels over all rows: a reduction whose parts are merged exactly."""

    groups: int
    cheap: bool = False

    def run(self, rows: tuple[int, int], inputs: Sequence[Tensor]) -> Tensor:
        """Count, mean and sum of squared differences of one slab, (3, groups) in float64."""
        x = inputs[0].to(torch.promote_types(inputs[0].dtype, torch.float32)).contiguous()
        # The norm itself is the fastest function for its statistics: for 4 MiB it takes 0.13 ms, and var_mean 2.9 ms.
        # The normalized output is discarded.
        count = x.numel() // self.groups
        flat = x.view(1, self.groups, count)
        _, mean, inverse = torch.native_group_norm(flat, None, None, 1, self.groups, count, self.groups, 0.0)
        variance = inverse.double().pow(-2)
        return torch.stack([torch.full_like(variance, count), mean.double(), variance * count]).view(3, self.groups)

    @staticmethod
    def merge(a: Tensor, b: Tensor) -> Tensor:
        """The moments of the union of two sets (Chan, Golub, LeVeque 1979, equation 2.1)."""
        count = a[0] + b[0]
        difference = b[1] - a[1]
        mean = a[1] + difference * b[0] / count
        return torch.stack([count, mean, a[2] + b[2] + difference**2 * a[0] * b[0] / count])


@dataclass(frozen=True)
class Normalize:
    """GroupNorm with known moments: one multiplication and one addition per channel."""

    weight: Tensor | None
    bias: Tensor | None
    epsilon: float
    cheap: bool = True

    def run(self, rows: tuple[int, int], inputs: Sequence[Tensor]) -> Tensor:
        x, moments = inputs
        # The scale for large values underflows in half precision.
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        scale, shift = self.scale_and_shift(exact, moments)
        return torch.mul(exact, scale).add_(shift).to(x.dtype)

    def scale_and_shift(self, x: Tensor, moments: Tensor) -> tuple[Tensor, Tensor]:
        """The scale and shift of each channel, (c, 1, 1) for a map with columns."""
        count, mean, squares = moments.repeat_interleave(x.shape[1] // moments.shape[1], dim=1)
        scale = (squares / count + self.epsilon).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        shift = -mean * scale
        if self.bias is not None:
            shift = shift + self.bias
        shape = (-1, *[1] * (x.dim() - 2))
        return scale.to(x.dtype).view(shape), shift.to(x.dtype).view(shape)


@dataclass(frozen=True)
class Total:
    """A sum over all rows, as a sum of partial sums."""

    function: Apply
    cheap: bool = False

    def run(self, rows: tuple[int, int], inputs: Sequence[Tensor]) -> Tensor:
        return self.function.run(rows, inputs)

    @staticmethod
    def merge(a: Tensor, b: Tensor) -> Tensor:
        return a + b


Reduction = Moments | Total

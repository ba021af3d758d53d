"""Operations on a few rows of a map at a time.

An operation makes rows a..b of its output from rows of its inputs: the same ones, or a window of them around each row.
It is given the rows that the window tells, cut off at the map's ends; what lies beyond the ends it makes up itself.
Maps are (1, c, h, w) mostly, but any axis may hold the rows, and several positions may count as one row.
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
    """The input rows that an output row is made of: kernel rows from (row // enlarge) * stride - before on."""

    kernel: int = 1
    stride: int = 1
    before: int = 0
    enlarge: int = 1

    def first(self, row: int) -> int:
        """The first input row that an output row and all after it look at; negative beyond the top."""
        return row // self.enlarge * self.stride - self.before

    def end(self, end: int) -> int:
        """One past the last input row that the output rows up to `end` look at, the bottom not considered."""
        return self.first(end - 1) + self.kernel


SAME_ROW = Window()


@dataclass(frozen=True)
class Slot:
    """The place of an input among the arguments of a function."""

    index: int


@dataclass(frozen=True)
class PerRow:
    """A number among the arguments of a function that is proportional to the rows that it is called for."""

    count: int


@runtime_checkable
class Operation(Protocol):
    """Something that can be done with rows."""

    @property
    def cheap(self) -> bool:
        """Whether doing it twice beats keeping what it made."""

    def run(self, rows: tuple[int, int], inputs: Sequence[Tensor]) -> Tensor:
        """Rows a..b of the output."""


@dataclass(frozen=True)
class Apply:
    """A function of torch that treats all rows alike, or needs no rows at all."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    cheap: bool = True
    shares: bool = False
    """Whether what it returns lies in the memory of what it was given."""

    def run(self, rows: tuple[int, int], inputs: Sequence[Tensor]) -> Tensor:
        count = rows[1] - rows[0]
        args, kwargs = (
            replaced(replaced(each, lambda slot: inputs[slot.index], Slot), lambda number: number.count * count, PerRow)
            for each in (self.args, self.kwargs)
        )
        return self.function(*args, **kwargs)

    @property
    def can_overwrite(self) -> bool:
        """Whether it can write its result into the memory of an input: an activation, or the sum of two tensors."""
        sums = self.function in SUMS and self.args == (Slot(0), Slot(1)) and not self.kwargs
        return sums or self.function in ON_ITSELF

    def overwrite(self, inputs: Sequence[Tensor], place: int) -> Tensor:
        """The same as `run` makes, in the memory of the input at a place."""
        if self.function in ON_ITSELF:
            return ON_ITSELF[self.function](inputs[place])
        return inputs[place].add_(inputs[1 - place])


ON_ITSELF: dict[Callable[..., Any], Callable[[Tensor], Tensor]] = {
    F.silu: lambda x: F.silu(x, inplace=True),
    F.relu: torch.relu_,
    torch.relu: torch.relu_,
}
"""Activations, and what does the same on the tensor itself."""
SUMS = (Tensor.add, Tensor.__add__, Tensor.__radd__, torch.add)


@dataclass(frozen=True)
class Convolve:
    """A convolution of a map that is padded already."""

    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    relu: bool = False
    """Whether negative numbers become zero in what it makes."""

    CHEAP_PRODUCTS = 40

    @property
    def cheap(self) -> bool:
        """A convolution of an image is: reading back what it made takes as long."""
        return self.weight[0].numel() <= self.CHEAP_PRODUCTS

    def run(self, rows: tuple[int, int], inputs: Sequence[Tensor]) -> Tensor:
        made = F.conv2d(inputs[0], self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
        return torch.relu_(made) if self.relu else made


@dataclass(frozen=True)
class Pad:
    """Rows and columns laid around a map: (left, right, top, bottom), as `torch.nn.functional.pad` has it."""

    amounts: tuple[int, int, int, int]
    mode: str
    value: float
    rows_in: int
    cheap: bool = True

    @property
    def window(self) -> Window:
        """Rows beyond the ends come from further inside: a mirrored one from twice its distance to the end."""
        _, _, top, bottom = self.amounts
        reach = REACH[self.mode]
        return Window(kernel=reach * (top + bottom) + 1, before=top + reach * bottom)

    def run(self, rows: tuple[int, int], inputs: Sequence[Tensor]) -> Tensor:
        left, right, top, _ = self.amounts
        (x,), (a, b) = inputs, (rows[0] - top, rows[1] - top)
        above, below = (min(b - a, max(0, beyond)) for beyond in (-a, b - self.rows_in))
        if self.mode == "constant":
            return F.pad(x, (left, right, above, below), value=self.value)
        first = max(0, min(self.window.first(rows[0]), self.rows_in))
        wanted = torch.tensor([inside(row, self.rows_in, self.mode) - first for row in range(a, b)], device=x.device)
        return F.pad(x.index_select(2, wanted), (left, right, 0, 0), mode=self.mode)


REACH = {"constant": 0, "replicate": 1, "reflect": 2}
"""How far from a row beyond an end its source is, in distances of that row to the end."""


def inside(row: int, rows: int, mode: str) -> int:
    """The row that stands for one beyond the ends."""
    if mode == "replicate":
        return min(max(row, 0), rows - 1)
    row = abs(row)
    return row if row < rows else 2 * (rows - 1) - row


@dataclass(frozen=True)
class Moments:
    """Mean and variance of each group of channels, over all rows: a reduction, whose parts are merged exactly."""

    groups: int
    cheap: bool = False

    def run(self, rows: tuple[int, int], inputs: Sequence[Tensor]) -> Tensor:
        """Count, mean and sum of squared differences of one slab, (3, groups) in float64."""
        x = inputs[0].to(torch.promote_types(inputs[0].dtype, torch.float32)).contiguous()
        # The function for the norm itself is the fastest there is for its statistics: of 4 MiB it makes them in
        # 0.13 ms where var_mean takes 2.9 ms. What it normalizes is thrown away.
        count = x.numel() // self.groups
        flat = x.view(1, self.groups, count)
        _, mean, inverse = torch.native_group_norm(flat, None, None, 1, self.groups, count, self.groups, 0.0)
        variance = inverse.double().pow(-2)
        return torch.stack([torch.full_like(variance, count), mean.double(), variance * count]).view(3, self.groups)

    @staticmethod
    def merge(a: Tensor, b: Tensor) -> Tensor:
        """Moments of two sets of numbers together (Chan, Golub, LeVeque 1979, equation 2.1)."""
        count = a[0] + b[0]
        difference = b[1] - a[1]
        mean = a[1] + difference * b[0] / count
        return torch.stack([count, mean, a[2] + b[2] + difference**2 * a[0] * b[0] / count])


@dataclass(frozen=True)
class Normalize:
    """GroupNorm with moments that are known: one multiplication and one addition for each channel."""

    weight: Tensor | None
    bias: Tensor | None
    epsilon: float
    cheap: bool = True

    def run(self, rows: tuple[int, int], inputs: Sequence[Tensor]) -> Tensor:
        x, moments = inputs
        # The factor of large numbers is too small for half precision.
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        scale, shift = self.line(exact, moments)
        return torch.mul(exact, scale).add_(shift).to(x.dtype)

    def line(self, x: Tensor, moments: Tensor) -> tuple[Tensor, Tensor]:
        """The factor and the addend of each channel, (c, 1, 1)."""
        count, mean, squares = moments.repeat_interleave(x.shape[1] // moments.shape[1], dim=1)
        scale = (squares / count + self.epsilon).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        shift = -mean * scale
        if self.bias is not None:
            shift = shift + self.bias
        return scale.to(x.dtype).view(-1, 1, 1), shift.to(x.dtype).view(-1, 1, 1)


@dataclass(frozen=True)
class Total:
    """A sum over all rows, made of the sums over some of them."""

    function: Apply
    cheap: bool = False

    def run(self, rows: tuple[int, int], inputs: Sequence[Tensor]) -> Tensor:
        return self.function.run(rows, inputs)

    @staticmethod
    def merge(a: Tensor, b: Tensor) -> Tensor:
        return a + b


Reduction = Moments | Total

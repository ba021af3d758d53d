"""Guard half precision: a layer that overflows, and only that layer, is recomputed in fp32.

What a layer makes in fp32 stays so as long as it does not fit into half precision; the next layer that can take it does
so in half precision again. Numbers that are not finite for another reason (a NaN in the input or in a weight) are left
as they are.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vaekit.runtime.streaming.ir import Step
from vaekit.runtime.streaming.operations import Apply, Convolve, Operation
from vaekit.runtime.streaming.tracing import replaced

HALF = (torch.float16, torch.bfloat16)


class OverflowGuard:
    """Runs operations of a network in half precision, and remembers which of them had to be done again.

    Args:
        dtype: the half precision that the network runs in; another dtype is not watched.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.watches = dtype in HALF
        self.repaired: dict[int, str] = {}

    @property
    def dtype_name(self) -> str:
        """What people call the dtype."""
        return {torch.float16: "fp16", torch.bfloat16: "bf16"}.get(self.dtype, str(self.dtype))

    def run(
        self,
        step: Step,
        index: int,
        run: Callable[[Sequence[Tensor]], Tensor],
        given: Sequence[Tensor],
        rows: tuple[int, int],
    ) -> Tensor:
        """What a step's operation makes, in half precision if that can hold it.

        Args:
            step, index: the step and its number.
            run: runs it in half precision.
            given: its inputs, in half precision or, where that could not hold them, in fp32.
            rows: the rows that it makes.
        """
        narrow = [self.narrowed(each) for each in given]
        if index not in self.repaired and all(each is not None for each in narrow):
            taken = [each for each in narrow if each is not None]
            made = run(taken)
            if finite(made) or not all(map(finite, taken)):
                return made
        assert step.operation is not None
        self.repaired.setdefault(index, step.label)
        wide = widened(step.operation).run(rows, [each.to(single(each)) for each in given])
        fits = self.narrowed(wide)
        return wide if fits is None else fits

    def narrowed(self, x: Tensor) -> Tensor | None:
        """A tensor of fp32 in half precision; None where that cannot hold it. Others come back as they are."""
        if x.dtype != torch.float32:
            return x
        low, high = torch.aminmax(x)
        if max(-low.item(), high.item()) > torch.finfo(self.dtype).max:
            return None
        return x.to(self.dtype)


def finite(x: Tensor) -> bool:
    """Whether all numbers are neither infinite nor NaN: one NaN among millions counts."""
    return all(math.isfinite(bound.item()) for bound in torch.aminmax(x))


def single(x: Tensor) -> torch.dtype:
    """fp32 for what is narrower."""
    return torch.promote_types(x.dtype, torch.float32)


def widened(operation: Operation) -> Operation:
    """The same operation with its weights in fp32."""
    if isinstance(operation, Convolve):
        bias = None if operation.bias is None else operation.bias.float()
        return dataclasses.replace(operation, weight=operation.weight.float(), bias=bias)
    if isinstance(operation, Apply):
        args, kwargs = (
            replaced(each, lambda weight: weight.to(single(weight)) if weight.is_floating_point() else weight, Tensor)
            for each in (operation.args, operation.kwargs)
        )
        return dataclasses.replace(operation, args=args, kwargs=kwargs)
    return operation

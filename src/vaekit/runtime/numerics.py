"""Guard half precision: a layer that overflows, and only that layer, is recomputed in fp32.

The output of such a layer stays in fp32 as long as it exceeds the range of half precision; later layers run in half
precision again. Values that are non-finite for another reason (a NaN in the input or in a weight) are not changed.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vaekit.runtime.streaming.ir import Step
from vaekit.runtime.streaming.operations import Apply, Convolve, ConvolveTransposed, Operation
from vaekit.runtime.streaming.tracing import replaced

HALF = (torch.float16, torch.bfloat16)


class OverflowGuard:
    """Runs operations of a network in half precision, and records which of them had to be recomputed.

    Args:
        dtype: of the network; only half precision is guarded.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.enabled = dtype in HALF
        self.repaired: dict[int, str] = {}

    @property
    def dtype_name(self) -> str:
        """The common name of the dtype."""
        return {torch.float16: "fp16", torch.bfloat16: "bf16"}.get(self.dtype, str(self.dtype))

    def run(
        self,
        step: Step,
        index: int,
        run: Callable[[Sequence[Tensor]], Tensor],
        inputs: Sequence[Tensor],
        rows: tuple[int, int],
    ) -> Tensor:
        """Run the operation of a step, in half precision unless it overflows.

        Args:
            step, index: the step and its number.
            run: runs the operation in half precision.
            inputs: in half precision, or in fp32 if they exceed its range.
            rows: the rows of the output.
        """
        narrow = [self.narrowed(each) for each in inputs]
        if index not in self.repaired and all(each is not None for each in narrow):
            taken = [each for each in narrow if each is not None]
            output = run(taken)
            if finite(output) or not all(map(finite, taken)):
                return output
        assert step.operation is not None
        self.repaired.setdefault(index, step.label)
        wide = widened(step.operation).run(rows, [each.to(single(each)) for each in inputs])
        fits = self.narrowed(wide)
        return wide if fits is None else fits

    def narrowed(self, x: Tensor) -> Tensor | None:
        """Convert an fp32 tensor to half precision; None if it is out of range. Other dtypes are not converted."""
        if x.dtype != torch.float32:
            return x
        low, high = torch.aminmax(x)
        if max(-low.item(), high.item()) > torch.finfo(self.dtype).max:
            return None
        return x.to(self.dtype)


def finite(x: Tensor) -> bool:
    """Whether all values are finite."""
    return all(math.isfinite(bound.item()) for bound in torch.aminmax(x))


def single(x: Tensor) -> torch.dtype:
    """fp32, or the dtype of the tensor if it is wider."""
    return torch.promote_types(x.dtype, torch.float32)


def widened(operation: Operation) -> Operation:
    """The same operation with its weights in fp32."""
    if isinstance(operation, Convolve | ConvolveTransposed):
        bias = None if operation.bias is None else operation.bias.float()
        return dataclasses.replace(operation, weight=operation.weight.float(), bias=bias)
    if isinstance(operation, Apply):
        args, kwargs = (
            replaced(each, lambda weight: weight.to(single(weight)) if weight.is_floating_point() else weight, Tensor)
            for each in (operation.args, operation.kwargs)
        )
        return dataclasses.replace(operation, args=args, kwargs=kwargs)
    return operation

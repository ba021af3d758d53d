"""Convolution backends with a common interface: torch, and ncnn's Winograd kernels on a CPU.

A backend prepares a convolution (ncnn transforms its weights) and is then called with a padded slab. What it prepares
takes memory, and so do its buffers: it reports both, so that a plan can be made before anything runs.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from vaekit.runtime.streaming.operations import Convolve

BLOCK = 16
"""The channels of a block in oneDNN's layouts for AVX-512; other processors use 8."""

Convolver = Callable[[Tensor], Tensor]
"""A padded slab (1, c, h, w) -> the convolved slab."""


@runtime_checkable
class Backend(Protocol):
    """A way to run convolutions."""

    @property
    def name(self) -> str:
        """The name in a plan."""

    def supports(self, convolution: Convolve) -> bool:
        """Whether it can run a convolution, and faster than torch."""

    def prepare(self, convolution: Convolve, threads: int) -> Convolver:
        """Prepare a convolution for repeated calls, each with this number of threads."""

    def prepared_bytes(self, convolution: Convolve) -> int:
        """The size of a prepared convolution in bytes."""

    def workspace_bytes(
        self, convolution: Convolve, input_shape: tuple[int, ...], output_shape: tuple[int, ...]
    ) -> int:
        """Additional memory while it runs, in bytes, for a padded input slab and an output slab (1, c, h, w)."""

    def release_buffers(self) -> None:
        """Free buffers that are cached for the next call."""


class TorchBackend:
    """torch's own convolutions: oneDNN on a CPU, cuDNN on a GPU."""

    name = "torch"

    def supports(self, convolution: Convolve) -> bool:
        return True

    def prepare(self, convolution: Convolve, threads: int) -> Convolver:
        return lambda x: convolution.run((0, 0), [x])

    def prepared_bytes(self, convolution: Convolve) -> int:
        return 0

    def workspace_bytes(
        self, convolution: Convolve, input_shape: tuple[int, ...], output_shape: tuple[int, ...]
    ) -> int:
        return torch_workspace(convolution.weight, input_shape, output_shape)

    def release_buffers(self) -> None:
        """Nothing is cached."""


def torch_workspace(weight: Tensor, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> int:
    """Additional memory of torch's convolution in bytes, for an input and an output (b, c, *size)."""
    if not uses_onednn(weight):
        # The input, unfolded: one column of all values under the kernel for each position.
        return math.prod(output_shape[2:]) * weight[0].numel() * weight.element_size()
    # It copies the input, the output and the weights to layouts with blocks of channels.
    values = weight.numel() + sum(blocked(shape) for shape in (input_shape, output_shape))
    return values * weight.element_size()


def uses_onednn(weight: Tensor) -> bool:
    """Whether torch runs a convolution with oneDNN, if it is on a CPU: in fp16 only some processors can. For GPUs, the
    same memory is assumed."""
    return weight.device.type != "cpu" or weight.dtype != torch.float16 or half_in_onednn()


@cache
def half_in_onednn() -> bool:
    """Whether oneDNN supports fp16 on this processor; False if torch does not state it."""
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    except (AttributeError, RuntimeError):
        return False


def blocked(shape: tuple[int, ...]) -> int:
    """The number of values of a map (b, c, *size) in blocks of channels. Few channels of an input are not blocked, but
    those of an output are."""
    batch, channels, *size = shape
    return batch * -(-channels // BLOCK) * BLOCK * math.prod(size)


class Convolvers:
    """The convolutions of one network, prepared on first use and cached as far as a plan allows.

    Args:
        backend: the preferred backend; torch runs the convolutions that it does not support.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._torch = TorchBackend()
        self._prepared: dict[int, tuple[Convolver, int]] = {}

    def chosen(self, convolution: Convolve) -> Backend:
        """The backend that runs a convolution."""
        return self.backend if self.backend.supports(convolution) else self._torch

    def prepare(self, step: int, convolution: Convolve, threads: int) -> None:
        """Prepare the convolution of a step for a number of threads, unless it is prepared already."""
        if step not in self._prepared or self._prepared[step][1] != threads:
            self._prepared[step] = (self.chosen(convolution).prepare(convolution, threads), threads)

    def run(self, step: int, x: Tensor) -> Tensor:
        """Apply the prepared convolution of a step to a padded slab."""
        return self._prepared[step][0](x)

    def keep_only(self, steps: frozenset[int]) -> None:
        """Free the prepared convolutions of all other steps."""
        for step in self._prepared.keys() - steps:
            del self._prepared[step]

    def release_buffers(self) -> None:
        """Free buffers that are cached for the next slab."""
        self.backend.release_buffers()


def fits_winograd(convolution: Convolve, least_channels: int) -> bool:
    """Whether Winograd's algorithm is faster for a convolution: 3x3, stride 1, enough channels."""
    weight = convolution.weight
    return (
        weight.dtype == torch.float32
        and weight.device.type == "cpu"
        and tuple(weight.shape[2:]) == (3, 3)
        and convolution.stride == convolution.dilation == (1, 1)
        and convolution.groups == 1
        and weight.shape[1] >= least_channels
    )

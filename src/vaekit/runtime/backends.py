"""Convolution backends with a common interface: torch, and ncnn's Winograd kernels on a CPU.

A backend prepares a convolution (ncnn transforms its weights) and is then called with a padded slab. What it prepares
takes memory, and so do its buffers: it tells both, so that a plan can be made before anything runs.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from vaekit.runtime.streaming.operations import Convolve

Convolver = Callable[[Tensor], Tensor]
"""A padded slab (1, c, h, w) -> what the convolution makes of it."""


@runtime_checkable
class Backend(Protocol):
    """A way to run convolutions."""

    @property
    def name(self) -> str:
        """What a plan calls it."""

    def takes(self, convolution: Convolve) -> bool:
        """Whether it can run this one, and faster than torch."""

    def prepare(self, convolution: Convolve, threads: int) -> Convolver:
        """Get ready to run it many times, each time with so many threads."""

    def prepared_bytes(self, convolution: Convolve) -> int:
        """Memory that stays taken once it is ready."""

    def workspace_bytes(self, convolution: Convolve, given: int, made: int) -> int:
        """Memory taken while it runs, beside the slabs of so many bytes that it is given and makes."""

    def rest(self) -> None:
        """Give back memory that was kept for the next call."""


class TorchBackend:
    """torch's own convolutions: oneDNN on a CPU, cuDNN on a GPU."""

    name = "torch"

    def takes(self, convolution: Convolve) -> bool:
        return True

    def prepare(self, convolution: Convolve, threads: int) -> Convolver:
        return lambda x: convolution.run((0, 0), [x])

    def prepared_bytes(self, convolution: Convolve) -> int:
        return 0

    def workspace_bytes(self, convolution: Convolve, given: int, made: int) -> int:
        # oneDNN brings slabs and weights into an order of its own before it begins.
        return given + made + convolution.weight.numel() * convolution.weight.element_size()

    def rest(self) -> None:
        """Nothing is kept."""


class Convolvers:
    """The convolutions of one network, prepared when they are first needed and kept as far as a plan allows.

    Args:
        backend: what is asked first; torch runs what it does not take.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._torch = TorchBackend()
        self._ready: dict[int, tuple[Convolver, int]] = {}

    def chosen(self, convolution: Convolve) -> Backend:
        """What runs a convolution."""
        return self.backend if self.backend.takes(convolution) else self._torch

    def get_ready(self, step: int, convolution: Convolve, threads: int) -> None:
        """Prepare a step's convolution, to be run with so many threads at a time, unless that is done."""
        if step not in self._ready or self._ready[step][1] != threads:
            self._ready[step] = (self.chosen(convolution).prepare(convolution, threads), threads)

    def run(self, step: int, x: Tensor) -> Tensor:
        """What a step's convolution, which is ready, makes of a padded slab."""
        return self._ready[step][0](x)

    def keep_only(self, steps: frozenset[int]) -> None:
        """Forget what was prepared for all other steps."""
        for step in self._ready.keys() - steps:
            del self._ready[step]

    def rest(self) -> None:
        """Give back memory that was kept for the next slab."""
        self.backend.rest()


def fits_winograd(convolution: Convolve, least_channels: int) -> bool:
    """Whether a convolution is one that Winograd's way makes faster: 3x3, one step at a time, enough channels."""
    weight = convolution.weight
    return (
        weight.dtype == torch.float32
        and weight.device.type == "cpu"
        and tuple(weight.shape[2:]) == (3, 3)
        and convolution.stride == convolution.dilation == (1, 1)
        and convolution.groups == 1
        and weight.shape[1] >= least_channels
    )

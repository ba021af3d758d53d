"""3x3 Winograd convolutions, F(4x4, 3x3) (Lavin and Gray 2016, arXiv 1509.09308), with ncnn.

ncnn loads weights only as part of a model, so every convolution is a network of one layer. Slabs are passed and
returned without a copy.
"""

import ctypes
import math
import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaekit.optional import require
from vaekit.runtime.backends import Convolver, fits_winograd
from vaekit.runtime.memory import trim_heap
from vaekit.runtime.streaming.operations import Convolve
from vaekit.runtime.streaming.walk import TILE

LEAST_CHANNELS = 16
"""The least number for which ncnn is used: with fewer, torch's direct convolution is as fast."""
TRANSFORMED_TILE = 36
"""Values in a transformed tile of the input."""
SINGLE = 4
"""The size of an fp32 value in bytes."""
TRANSFORMED = TRANSFORMED_TILE / 9
"""Values in a transformed kernel per value in the kernel."""


class NcnnBackend:
    """ncnn's Winograd convolutions, in fp32 on the CPU.

    Raises:
        MissingPackage: ncnn is not installed.
    """

    name = "ncnn"

    def __init__(self) -> None:
        self._ncnn = require("ncnn", "run convolutions with ncnn", "cpu")
        self._pools = pools(self._ncnn)

    def supports(self, convolution: Convolve) -> bool:
        return fits_winograd(convolution, LEAST_CHANNELS)

    def prepare(self, convolution: Convolve, threads: int) -> Convolver:
        return Winograd(self._ncnn, self._pools, convolution, threads)

    def prepared_bytes(self, convolution: Convolve) -> int:
        return int(convolution.weight.numel() * 4 * TRANSFORMED)

    def workspace_bytes(
        self, convolution: Convolve, input_shape: tuple[int, ...], output_shape: tuple[int, ...]
    ) -> int:
        # The transformed input, 36 values for each tile of 4x4, and copies of both slabs in ncnn's channel order.
        tiles = math.prod(-(-positions // TILE) for positions in output_shape[2:])
        copies = math.prod(input_shape) + math.prod(output_shape)
        return SINGLE * (TRANSFORMED_TILE * tiles * input_shape[1] + copies)

    def release_buffers(self) -> None:
        for pool in self._pools.every:
            pool.clear()


class Pools(threading.local):
    """Allocators of each thread for ncnn's slabs and buffers: its own would keep memory for each layer.

    They live as long as the process, because tensors may still use their memory.

    Args:
        ncnn: the package.
        every: receives the allocators of all threads. Each thread that uses this object initializes it with the same
            list.
    """

    def __init__(self, ncnn: Any, every: list[Any]) -> None:
        self.every = every
        self.slabs, self.buffers = ncnn.PoolAllocator(), ncnn.PoolAllocator()
        every.extend((self.slabs, self.buffers))


@cache
def pools(ncnn: Any) -> Pools:
    """The allocators of the process."""
    return Pools(ncnn, [])


class Winograd:
    """One prepared convolution."""

    def __init__(self, ncnn: Any, pools: Pools, convolution: Convolve, threads: int) -> None:
        weight, bias = convolution.weight, convolution.bias
        outputs, _, rows, columns = weight.shape
        self._ncnn, self._pools = ncnn, pools
        self._net = ncnn.Net()
        options = self._net.opt
        options.lightmode = True  # free the untransformed weights
        options.num_threads = threads
        for half in ("fp16_storage", "fp16_packed", "fp16_arithmetic", "bf16_storage", "bf16_packed"):
            setattr(options, f"use_{half}", False)
        options.use_winograd_convolution = options.use_winograd43_convolution = True
        # The variants that ncnn would choose for some shapes were measured to be half as fast.
        options.use_winograd23_convolution = options.use_winograd63_convolution = False
        self._net.opt = options
        shape = f"0={outputs} 1={columns} 11={rows} 5={int(bias is not None)} 6={weight.numel()}"
        self._net.load_param_mem(
            f"7767517\n2 2\nInput x 0 1 x\nConvolution c 1 1 x y {shape} 9={int(convolution.relu)}\n"
        )
        plain = torch.zeros(1)  # the flag before the weights: they are not packed
        tensors = [plain, weight, *([] if bias is None else [bias])]
        if self._net.load_model(reader_class(ncnn)(tensors)):
            raise MemoryError("ncnn ran out of memory for the weights of a convolution")
        trim_heap()  # temporary memory of the transformation

    def __call__(self, x: Tensor) -> Tensor:
        extractor = self._net.create_extractor()
        extractor.set_blob_allocator(self._pools.slabs)
        extractor.set_workspace_allocator(self._pools.buffers)
        array = x.contiguous().squeeze(0).numpy()
        extractor.input("x", self._ncnn.Mat(array))
        failed, output = extractor.extract("y")
        if failed:
            raise MemoryError("ncnn ran out of memory in a convolution")
        return torch.from_numpy(np.asarray(output)).unsqueeze(0)  # keeps ncnn's memory alive


@cache
def reader_class(ncnn: Any) -> type:
    """A reader of weights that copies them into ncnn's memory: with plain bytes, ncnn would refer to them
    permanently."""
    address_of = ctypes.pythonapi.PyCapsule_GetPointer
    address_of.restype, address_of.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)

    class Reader(ncnn.DataReader):  # type: ignore[misc]
        """fp32 tensors in order, each requested with its size."""

        def __init__(self, tensors: Sequence[Tensor]) -> None:
            super().__init__()
            self._tensors = [each.contiguous() for each in tensors]

        def read(self, buffer: object, size: int) -> int:
            tensor = self._tensors.pop(0)
            assert tensor.nbytes == size and tensor.dtype == torch.float32
            ctypes.memmove(address_of(buffer, None), tensor.data_ptr(), size)
            return size

    return Reader

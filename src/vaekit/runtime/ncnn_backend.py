"""3x3 convolutions by Winograd's way, F(4x4, 3x3) (Lavin and Gray 2016, arXiv 1509.09308), through ncnn.

ncnn's layers can only be given weights as a model, so that every convolution is a network of one layer here. Slabs go
in and come out without a copy.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaekit.optional import need
from vaekit.runtime.convolving import Convolver, fits_winograd
from vaekit.runtime.memory import give_back
from vaekit.runtime.operations import Convolve

LEAST_CHANNELS = 16
"""With fewer, torch's direct convolution is as fast."""
TRANSFORMED = 36 / 9
"""Numbers in a transformed kernel for each in the kernel."""


class NcnnBackend:
    """ncnn's convolutions for those that fit, in fp32 on the CPU.

    Raises:
        MissingPackage: ncnn is not installed.
    """

    name = "ncnn"

    def __init__(self) -> None:
        self._ncnn = need("ncnn", "run convolutions with ncnn", "cpu")

    def takes(self, convolution: Convolve) -> bool:
        return fits_winograd(convolution, LEAST_CHANNELS)

    def prepare(self, convolution: Convolve) -> Convolver:
        return Winograd(self._ncnn, convolution)

    def prepared_bytes(self, convolution: Convolve) -> int:
        return int(convolution.weight.numel() * 4 * TRANSFORMED)

    def workspace_bytes(self, convolution: Convolve, given: int, made: int) -> int:
        # The transformed input, 36 numbers for each 16, and both slabs once more in ncnn's order of channels.
        return int(given * 36 / 16) + given + made

    def rest(self) -> None:
        for pool in pools(self._ncnn):
            pool.clear()


@cache
def pools(ncnn: Any) -> tuple[Any, Any]:
    """Where ncnn takes memory for slabs and for its buffers, the same for all layers: their own would keep it each.

    They live as long as the process, for tensors may still lie in them.
    """
    return ncnn.PoolAllocator(), ncnn.PoolAllocator()


class Winograd:
    """One convolution, ready to run."""

    def __init__(self, ncnn: Any, convolution: Convolve) -> None:
        weight = convolution.weight.contiguous()
        outputs, _, rows, columns = weight.shape
        self._ncnn = ncnn
        self._bias = None if convolution.bias is None else convolution.bias.view(-1, 1, 1)
        self._net = ncnn.Net()
        options = self._net.opt
        options.lightmode = True  # forget the plain weights
        options.num_threads = torch.get_num_threads()
        for half in ("fp16_storage", "fp16_packed", "fp16_arithmetic", "bf16_storage", "bf16_packed"):
            setattr(options, f"use_{half}", False)
        options.use_winograd_convolution = options.use_winograd43_convolution = True
        # What ncnn would choose instead for some shapes is half as fast on the machines it was measured on.
        options.use_winograd23_convolution = options.use_winograd63_convolution = False
        self._net.opt = options
        count = weight.numel()
        # The bias is added here: ncnn would go on reading it from the bytes below, which are given up.
        layer = f"Convolution c 1 1 x y 0={outputs} 1={columns} 11={rows} 5=0 6={count}"
        self._net.load_param_mem(f"7767517\n2 2\nInput x 0 1 x\n{layer}\n")
        self._net.load_model_mem(bytes(4) + weight.numpy().tobytes())
        give_back()  # what the transformation took in pieces

    def __call__(self, x: Tensor) -> Tensor:
        slabs, buffers = pools(self._ncnn)
        extractor = self._net.create_extractor()
        extractor.set_blob_allocator(slabs)
        extractor.set_workspace_allocator(buffers)
        given = x.contiguous().squeeze(0).numpy()
        extractor.input("x", self._ncnn.Mat(given))
        failed, made = extractor.extract("y")
        if failed:
            raise MemoryError("ncnn had no memory for a convolution")
        y = torch.from_numpy(np.asarray(made)).unsqueeze(0)  # which keeps what ncnn made alive
        return y if self._bias is None else y.add_(self._bias)

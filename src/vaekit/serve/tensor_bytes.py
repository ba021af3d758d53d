"""Tensors as raw bytes: little-endian, contiguous, without a header; bfloat16 as its 16 bits."""

from collections.abc import Sequence

import torch
from torch import Tensor

DTYPES = {
    "float16": torch.float16,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "uint8": torch.uint8,
}
"""The dtypes of the remote-VAE protocol by their names."""
FLOATS = ("float16", "float32", "bfloat16")


def tensor_of(content: bytearray, dtype: str, shape: Sequence[int]) -> Tensor:
    """The tensor in these bytes, which it shares.

    Args:
        content: of exactly the right length.
        dtype: one of `DTYPES`.
        shape: of the tensor.
    """
    return torch.frombuffer(content, dtype=DTYPES[dtype]).reshape(tuple(shape))


def bytes_of(tensor: Tensor) -> bytes:
    """The bytes of a tensor.

    >>> bytes_of(torch.tensor([1.0], dtype=torch.bfloat16))
    b'\\x80?'
    """
    return tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()


def name_of(dtype: torch.dtype) -> str:
    """The name of a dtype in the protocol.

    >>> name_of(torch.float16)
    'float16'
    """
    return str(dtype).removeprefix("torch.")

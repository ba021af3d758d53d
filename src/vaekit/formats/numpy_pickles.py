"""Read pickles of numpy arrays in dictionaries as named tensors, without running code from them.

JAX programs store weights in this format. The files are read by the stack machine for torch's files
(`pickle_machine.py`), without numpy. Only arrays of little-endian float32 in C order are read, which such files
contain; others are ignored.

Source: numpy's own `ndarray.__reduce__`: `_reconstruct(ndarray, (0,), b"b")`, then a state of version, shape, dtype,
whether the order is Fortran's, and the bytes.
"""

import math
import mmap
from pathlib import Path

import torch
from torch import Tensor

from vaekit.errors import BadCheckpoint, printable
from vaekit.formats.pickle_machine import Window, unpickle
from vaekit.formats.pickle_values import Builder, Placeholder, Stateful
from vaekit.formats.tensor_file import check_names, damaged, shape_of
from vaekit.formats.torch_files import DAMAGE
from vaekit.reading import open_file

MOST_DOTS = 8
"""The maximum depth of nested dictionaries; real files have three levels."""


class Dtype(Stateful):
    """A number format: `numpy.dtype("f4", False, True)`, then a state whose second part is the byte order."""

    def __init__(self, format: object) -> None:
        self.format = format
        self.order: object = None

    def set_state(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 2:
            raise ValueError("a dtype without a byte order")
        self.order = state[1]

    @property
    def readable(self) -> bool:
        return self.format == "f4" and self.order == "<"


class Array(Stateful):
    """An array, empty until its state is set."""

    def __init__(self) -> None:
        self.tensor: Tensor | None = None

    def set_state(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("an array with an invalid state")
        _, sides, dtype, fortran, content = state
        if not (isinstance(dtype, Dtype) and dtype.readable and isinstance(content, bytes)) or fortran:
            return
        shape = shape_of(sides)
        if math.prod(shape) * 4 != len(content):
            raise ValueError(f"an array of {math.prod(shape):,} values in {len(content):,} bytes")
        # A copy: bytes are immutable, and torch warns about tensors that share their memory.
        self.tensor = torch.frombuffer(bytearray(content), dtype=torch.float32).reshape(shape)


def build_dtype(format: object = None, *_: object) -> object:
    """`numpy.dtype`."""
    return Dtype(format)


def build_array(*_: object) -> object:
    """`numpy.core.multiarray._reconstruct`, which creates an empty array."""
    return Array()


BUILDERS: dict[str, Builder] = {
    "numpy.dtype": build_dtype,
    "numpy.core.multiarray._reconstruct": build_array,
    "numpy._core.multiarray._reconstruct": build_array,
}


def read_numpy_pickle(path: Path) -> dict[str, Tensor]:
    """The arrays of a pickle under dotted names, such as `VGG16_0.Conv_0.kernel`; empty if there are none.

    Raises:
        UnsafePickle: the file references functions that execute code.
        BadCheckpoint: the file is damaged, or cannot be read.
    """
    try:
        with open_file(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            content = unpickle(
                Window(mapped, 0, len(mapped)), BUILDERS, lambda _: Placeholder("persistent id"), str(path)
            )
        arrays = nested_arrays(content)
        check_names(arrays)
    except BadCheckpoint:
        raise
    except DAMAGE as error:
        reason = next(iter(str(error).splitlines()), "no detail")
        raise damaged(path, printable(f"{type(error).__name__}: {reason}", 200)) from error
    return arrays


def nested_arrays(content: object) -> dict[str, Tensor]:
    """Arrays in nested dictionaries, under dotted names."""
    arrays: dict[str, Tensor] = {}
    visited = {id(content)}  # a hostile file may contain one dictionary a million times
    holders = [("", content)]
    while holders:
        prefix, holder = holders.pop()
        for name, value in holder.items() if isinstance(holder, dict) else ():
            if isinstance(value, Array) and value.tensor is not None:
                arrays[f"{prefix}{name}"] = value.tensor
            elif isinstance(value, dict) and id(value) not in visited and prefix.count(".") < MOST_DOTS:
                visited.add(id(value))
                holders.append((f"{prefix}{name}.", value))
    return arrays

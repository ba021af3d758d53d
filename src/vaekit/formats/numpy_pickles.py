"""Read pickles of numpy arrays in dictionaries as named tensors, without running code from them.

Programs on JAX pickle their weights so. The same stack machine reads them as reads torch's files (`pickles.py`); numpy
is not asked. Only arrays of little-endian float32 in C order are read, which is what such files hold; others are left
out.

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
from vaekit.formats.pickle_values import Builder, Placeholder, Unsettled
from vaekit.formats.tensor_file import check_names, damaged, shape_of
from vaekit.formats.torch_files import DAMAGE

MOST_DOTS = 8
"""Dictionaries within dictionaries; honest ones have three."""


class Dtype(Unsettled):
    """A number format: `numpy.dtype("f4", False, True)`, then a state whose second part is the byte order."""

    def __init__(self, kind: object) -> None:
        self.kind = kind
        self.order: object = None

    def settle(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 2:
            raise ValueError("a dtype without a byte order")
        self.order = state[1]

    @property
    def readable(self) -> bool:
        return self.kind == "f4" and self.order == "<"


class Array(Unsettled):
    """An array, empty until its state comes."""

    def __init__(self) -> None:
        self.tensor: Tensor | None = None

    def settle(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("an array with an invalid state")
        _, sides, dtype, fortran, content = state
        if not (isinstance(dtype, Dtype) and dtype.readable and isinstance(content, bytes)) or fortran:
            return
        shape = shape_of(sides)
        if math.prod(shape) * 4 != len(content):
            raise ValueError(f"an array of {math.prod(shape):,} values in {len(content):,} bytes")
        # A copy of our own: bytes cannot be written to, and torch warns of tensors that lie over them.
        self.tensor = torch.frombuffer(bytearray(content), dtype=torch.float32).reshape(shape)


def build_dtype(kind: object = None, *_: object) -> object:
    """`numpy.dtype`."""
    return Dtype(kind)


def build_array(*_: object) -> object:
    """`numpy.core.multiarray._reconstruct`, which makes an array without numbers."""
    return Array()


BUILDERS: dict[str, Builder] = {
    "numpy.dtype": build_dtype,
    "numpy.core.multiarray._reconstruct": build_array,
    "numpy._core.multiarray._reconstruct": build_array,
}


def read_numpy_pickle(path: Path) -> dict[str, Tensor]:
    """The arrays of a pickle under dotted names: `VGG16_0.Conv_0.kernel`. Empty where there are none.

    Raises:
        UnsafePickle: it names something that only serves to run code.
        BadCheckpoint: it is damaged, or cannot be read.
    """
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
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
    """Arrays in dictionaries within dictionaries, under dotted names."""
    found: dict[str, Tensor] = {}
    seen = {id(content)}  # a hostile file may hold one dictionary in a million places
    holders = [("", content)]
    while holders:
        prefix, holder = holders.pop()
        for name, value in holder.items() if isinstance(holder, dict) else ():
            if isinstance(value, Array) and value.tensor is not None:
                found[f"{prefix}{name}"] = value.tensor
            elif isinstance(value, dict) and id(value) not in seen and prefix.count(".") < MOST_DOTS:
                seen.add(id(value))
                holders.append((f"{prefix}{name}.", value))
    return found

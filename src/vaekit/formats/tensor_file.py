"""The common representation of weights files: named tensors with lazily read data."""

import math
import mmap
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from vaekit.errors import BadCheckpoint, printable
from vaekit.reading import open_file

MOST_AXES = 64


MOST_NUMBERS = 2**62


MOST_FORMATS = 3
"""The maximum number of formats that a message names."""


MOST_TENSORS = 50_000
"""The maximum number of tensors in a file; the largest checkpoints with a VAE have some 5,000."""


LONGEST_NAME = 500
"""The maximum length of a tensor name; real names have fewer than 150 characters."""


MOST_EXAMINED, LONGEST_EXAMINED = 20_000, 200
"""See `examined`."""


@dataclass(frozen=True)
class TensorSpec:
    """The description of a tensor, known before it is read."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    """The dtype after reading; `torch.uint8` if not `readable`."""
    stored: str = ""
    """The number format in the file, such as "Q8_0", if it is not a torch dtype."""
    readable: bool = True
    """Whether vaekit can read this number format. Files may hold others that are not requested."""
    quantization: str = ""
    """The quantization of the stored values, such as "scaled fp8"; empty if they are the values themselves."""

    @property
    def stored_as(self) -> str:
        """The name of the number format in the file: "float16", "q8_0"."""
        return (self.stored or dtype_name(self.dtype)).lower()


@dataclass(frozen=True)
class Span:
    """A byte range of a file."""

    path: Path
    start: int
    length: int


def dtype_name(dtype: torch.dtype) -> str:
    """The name of a dtype: "float16"."""
    return str(dtype).removeprefix("torch.")


def no_span(_: str) -> Span | None:
    """The implementation for formats without directly stored tensors."""
    return None


@dataclass(frozen=True)
class TensorFile:
    """The tensors of one file, or of all its shards: their descriptions, and functions to read them."""

    path: Path
    format: str
    """"safetensors", "pickle", "torchscript", "npz" or "gguf"; shards may have several: "pickle and safetensors"."""
    metadata: Mapping[str, str]
    specs: Mapping[str, TensorSpec]
    read: Callable[[Iterable[str]], dict[str, Tensor]]
    span: Callable[[str], Span | None] = no_span
    """The byte range of a tensor stored contiguously and little-endian; None for others."""
    others: tuple[str, ...] = ()
    """Names of other content of the file, beside tensors and metadata."""
    shards: tuple[Path, ...] = ()
    """The files that hold the tensors, if there are several; see `sharded.py`."""
    dictionary: str = ""
    """The path of the dictionary in a torch checkpoint that holds the tensors: "model.state_dict"."""
    averaged: bool = False
    """Whether that dictionary holds averages over training steps rather than plain weights."""
    alternatives: "tuple[TensorFile, ...]" = ()
    """Other dictionaries of the same checkpoint that hold tensors."""
    companions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The tensors of the file that a tensor presented here is computed from, beside the one of its own name."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that is read: this one, and the shards."""
        return tuple(dict.fromkeys((self.path, *self.shards)))


def examined(names: Iterable[str]) -> Iterator[str]:
    """The names that are compared with patterns: longer ones and further ones are ignored, which bounds the time that a
    hostile file takes."""
    return (name for name in islice(names, MOST_EXAMINED) if len(name) <= LONGEST_EXAMINED)


def damaged(path: Path, reason: str) -> BadCheckpoint:
    """The error for a file that violates its format."""
    return BadCheckpoint(
        f"{path} is damaged or truncated: {reason}.",
        "Expected a complete weights file.",
        "Download it again, and compare its size and hash with the source.",
    )


def check_readable(file: TensorFile, names: Iterable[str]) -> None:
    """Reject tensors with a number format that vaekit does not read.

    Raises:
        BadCheckpoint: with the first of them and their formats.
    """
    refused = [name for name in names if not file.specs[name].readable]
    if refused:
        formats = ", ".join(sorted({printable(file.specs[name].stored) for name in refused})[:MOST_FORMATS])
        raise BadCheckpoint(
            f"{file.path} stores {len(refused)} of the required tensors as {formats}, such as {printable(refused[0])}.",
            "vaekit reads F32, F16, BF16 and Q8_0 from GGUF files; from others torch's dtypes, and fp8 and int8 with "
            "scales for the whole tensor, rows or blocks, also rotated (convrot).",
            "Get a version whose VAE is stored as F16, BF16 or F32; the other tensors of the file do not matter.",
        )


def check_names(names: Collection[str]) -> None:
    """Check the number, length and characters of tensor names.

    Raises:
        ValueError: there are too many, or one is too long or has unprintable characters.
    """
    if len(names) > MOST_TENSORS:
        raise ValueError(f"{len(names):,} tensors, more than {MOST_TENSORS:,}")
    odd = next((name for name in names if len(name) > LONGEST_NAME or not name.isprintable()), None)
    if odd is not None:
        raise ValueError(f"a tensor with an invalid name of {len(odd):,} characters: {printable(odd, 40)}")


def checked_size(number: object) -> int:
    """Check a count, offset, size or stride; returns it.

    Raises:
        ValueError: it is not an integer in the valid range.
    """
    if type(number) is not int or not 0 <= number <= MOST_NUMBERS:
        raise ValueError("a tensor of invalid size")
    return number


def checked_sizes(numbers: object) -> tuple[int, ...]:
    """Check a shape, or strides; returns it as a tuple.

    Raises:
        ValueError: there are too many, or one is not an integer.
    """
    if not isinstance(numbers, (tuple, list)) or len(numbers) > MOST_AXES:
        raise ValueError("a tensor of invalid shape")
    return tuple(map(checked_size, numbers))


def shape_of(numbers: object) -> tuple[int, ...]:
    """Check a shape, whose product must not overflow, also without zeros.

    Raises:
        ValueError: it overflows.
    """
    shape = checked_sizes(numbers)
    if math.prod(max(side, 1) for side in shape) > MOST_NUMBERS:
        raise ValueError("a tensor of invalid size")
    return shape


def check_apart(parts: Iterable[tuple[int, int, str]], end: int) -> None:
    """Check that ranges (start, bytes, name) lie before `end` and do not overlap.

    Raises:
        ValueError: one exceeds the end, or two overlap.
    """
    free = 0
    for start, nbytes, name in sorted(part for part in parts if part[1]):
        if start < free:
            raise ValueError(f"{printable(name)} overlaps the preceding data")
        free = start + nbytes
        if free > end:
            raise ValueError(f"{printable(name)} exceeds the end of the file")


def is_utf8(path: Path) -> bool:
    """Whether a name is UTF-8. Torch opens no files with other names."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def mapped_by_torch(path: Path, size: int) -> torch.UntypedStorage:
    """A file as a storage that is copied on write."""
    storage = torch.UntypedStorage.from_file(os.fspath(path), False, size)
    assert isinstance(storage, torch.UntypedStorage)
    return storage


def mapped_by_python(path: Path, size: int) -> torch.UntypedStorage:
    """The same for a file with any name."""
    with open_file(path) as file:
        return torch.frombuffer(
            mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY), dtype=torch.uint8
        ).untyped_storage()


class MappedFile:
    """Map a file into memory, copy on write.

    Args:
        size: of the file when it was opened, in bytes.

    Raises:
        BadCheckpoint: the file has changed since then.
    """

    def __init__(self, path: Path, size: int) -> None:
        try:
            storage = mapped_by_torch(path, size) if is_utf8(path) else mapped_by_python(path, size)
        except (RuntimeError, ValueError, OSError) as error:
            raise BadCheckpoint(
                f"{path} changed while it was in use.", "Expected it to stay unchanged.", "Try again."
            ) from error
        self._whole = storage

    def part(self, start: int, nbytes: int, dtype: torch.dtype, byteorder: str = "little") -> torch.UntypedStorage:
        """Values of one dtype at an offset of the file: mapped, or copied if their byte order differs."""
        itemsize = dtype.itemsize
        part = self._whole[start : start + nbytes // itemsize * itemsize]
        assert isinstance(part, torch.UntypedStorage)  # a slice, unlike a single byte
        swapped = byteorder != sys.byteorder and itemsize > 1
        # Some formats do not align data, but kernels require alignment to the element size.
        if swapped or part.data_ptr() % min(itemsize, 8):
            part = part.clone()
        if swapped:
            part.byteswap(dtype)
        return part

    def tensor(self, start: int, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A contiguous tensor stored little-endian at an offset of the file."""
        empty = torch.empty(0, dtype=dtype)
        if 0 in shape:
            return empty.new_empty(shape)
        nbytes = torch.Size(shape).numel() * dtype.itemsize
        return empty.set_(self.part(start, nbytes, dtype)).reshape(shape)

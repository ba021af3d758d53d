"""What every format is read into: named tensors that are known before their numbers are read."""

import math
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vaekit.errors import BadCheckpoint, printable

MOST_AXES = 64


MOST_NUMBERS = 2**62


MOST_TENSORS = 50_000
"""Tensors in one file; the largest checkpoints with a VAE inside have some 5,000."""


LONGEST_NAME = 500
"""Letters; honest names have fewer than 150."""


@dataclass(frozen=True)
class TensorSpec:
    """What is known of a tensor before it is read."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    """What it is read as; `torch.uint8` where `readable` is false."""
    stored: str = ""
    """The format of its numbers in the file, such as "Q8_0", where that is none of torch's own."""
    readable: bool = True
    """Whether vaekit can read such numbers. A file may hold some that nobody asks for."""

    @property
    def stored_as(self) -> str:
        """The format of its numbers in the file in one word: "float16", "q8_0"."""
        return (self.stored or str(self.dtype).removeprefix("torch.")).lower()


@dataclass(frozen=True)
class Span:
    """Bytes of a file."""

    path: Path
    start: int
    length: int


def no_span(_: str) -> Span | None:
    """The answer of a format in which no tensor stands as it is."""
    return None


@dataclass(frozen=True)
class TensorFile:
    """The tensors of one file: what they are, and a way to read some of them."""

    path: Path
    format: str
    """"safetensors", "pickle" or "gguf"."""
    metadata: Mapping[str, str]
    specs: Mapping[str, TensorSpec]
    read: Callable[[Iterable[str]], dict[str, Tensor]]
    span: Callable[[str], Span | None] = no_span
    """Where the numbers of a tensor stand in the file, row by row and little-endian; None where they do not."""
    others: tuple[str, ...] = ()
    """Names of what is in the file beside tensors and metadata."""


def damaged(path: Path, reason: str) -> BadCheckpoint:
    """The error for a file that is not what its format says."""
    return BadCheckpoint(
        f"{path} is damaged or cut short: {reason}.",
        "Expected a complete weights file.",
        "Fetch it again, and compare its size and hash with the source.",
    )


def check_readable(file: TensorFile, names: Iterable[str]) -> None:
    """Refuse tensors whose numbers stand in a format that vaekit does not read.

    Raises:
        BadCheckpoint: names the first of them and their formats.
    """
    refused = [name for name in names if not file.specs[name].readable]
    if refused:
        kinds = ", ".join(sorted({file.specs[name].stored for name in refused}))
        raise BadCheckpoint(
            f"{file.path} stores {len(refused)} of the tensors asked for as {kinds}, such as {printable(refused[0])}.",
            "vaekit reads F32, F16, BF16 and Q8_0 from GGUF files, and torch's own number formats from safetensors.",
            "Get a version whose VAE is stored as F16, BF16 or F32; the other tensors of the file do not matter.",
        )


def check_names(names: Collection[str]) -> None:
    """Hold the names of a file to what honest ones are like, so that nothing later need fear them.

    Raises:
        ValueError: too many, one too long, or one with letters that are not for reading.
    """
    if len(names) > MOST_TENSORS:
        raise ValueError(f"{len(names):,} tensors, more than {MOST_TENSORS:,}")
    odd = next((name for name in names if len(name) > LONGEST_NAME or not name.isprintable()), None)
    if odd is not None:
        raise ValueError(
            f"a tensor with a name of {len(odd):,} letters that nobody would give it: {printable(odd, 40)}"
        )


def check_complete(number: object) -> int:
    """A count, offset, side or stride.

    Raises:
        ValueError: it is anything but a whole number that could be one.
    """
    if type(number) is not int or not 0 <= number <= MOST_NUMBERS:
        raise ValueError("a tensor of impossible size")
    return number


def is_counter(numbers: object) -> tuple[int, ...]:
    """A shape, or strides.

    Raises:
        ValueError: these are too many, or no whole numbers.
    """
    if not isinstance(numbers, (tuple, list)) or len(numbers) > MOST_AXES:
        raise ValueError("a tensor of impossible shape")
    return tuple(map(check_complete, numbers))


def shape_of(numbers: object) -> tuple[int, ...]:
    """A shape whose product overflows nowhere, not even of its sides other than zero.

    Raises:
        ValueError: it is none.
    """
    shape = is_counter(numbers)
    if math.prod(max(side, 1) for side in shape) > MOST_NUMBERS:
        raise ValueError("a tensor of impossible size")
    return shape


def check_apart(parts: Iterable[tuple[int, int, str]], end: int) -> None:
    """See that parts of a file (start, bytes, name) lie in it, before its `end`, and share no byte.

    Raises:
        ValueError: one reaches beyond the end, or two overlap.
    """
    free = 0
    for start, nbytes, name in sorted(part for part in parts if part[1]):
        if start < free:
            raise ValueError(f"{printable(name)} overlaps what stands before it")
        free = start + nbytes
        if free > end:
            raise ValueError(f"{printable(name)} reaches beyond the end of the file")


class MappedFile:
    """A file mapped into memory, copy on write.

    Args:
        size: bytes of the file when it was opened.

    Raises:
        BadCheckpoint: the file has changed since then.
    """

    def __init__(self, path: Path, size: int) -> None:
        try:
            check_complete = torch.UntypedStorage.from_file(str(path), False, size)
        except RuntimeError as error:
            raise BadCheckpoint(
                f"{path} has changed while it was in use.", "Expected it to stay as it is.", "Try again."
            ) from error
        assert isinstance(check_complete, torch.UntypedStorage)
        self._whole = check_complete

    def part(self, start: int, nbytes: int, dtype: torch.dtype, byteorder: str = "little") -> torch.UntypedStorage:
        """Numbers of one dtype that stand somewhere in the file: mapped, or copied where they need turning."""
        itemsize = dtype.itemsize
        part = self._whole[start : start + nbytes // itemsize * itemsize]
        assert isinstance(part, torch.UntypedStorage)  # a slice, unlike a single byte
        turned = byteorder != sys.byteorder and itemsize > 1
        # Some formats align nothing, and kernels take numbers to stand at multiples of their size.
        if turned or part.data_ptr() % min(itemsize, 8):
            part = part.clone()
        if turned:
            part.byteswap(dtype)
        return part

    def tensor(self, start: int, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A contiguous tensor whose numbers stand somewhere in the file, little-endian."""
        empty = torch.empty(0, dtype=dtype)
        if 0 in shape:
            return empty.new_empty(shape)
        nbytes = torch.Size(shape).numel() * dtype.itemsize
        return empty.set_(self.part(start, nbytes, dtype)).reshape(shape)

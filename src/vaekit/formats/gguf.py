"""Read GGUF headers with bounded memory.

The reader in the package `gguf` trusts its input: it creates an object for every element of every array (700 MB of
memory and half a minute for an array of 1 MB), copies strings of any length, follows nested arrays to any depth, and
multiplies 64-bit sizes without overflow checks. So the header is parsed here, arrays are skipped, and each number is
checked before it is used.

Source: docs/gguf.md in ggml-org/ggml; `gguf_reader.py` of the package.
"""

import math
import mmap
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from vaekit.errors import BadCheckpoint, printable
from vaekit.formats.tensor_file import (
    LONGEST_NAME,
    MOST_TENSORS,
    MappedFile,
    TensorFile,
    TensorSpec,
    check_apart,
    check_names,
    check_readable,
    checked_sizes,
    damaged,
    shape_of,
)
from vaekit.optional import require
from vaekit.reading import open_file

VERSIONS = (2, 3)


MOST_AXES = 4
"""The maximum number of axes of ggml's tensors."""


MOST_STEPS = 2_000_000
"""The maximum number of metadata entries, strings in arrays and tensors together; the vocabulary of a language model
has about 500,000 strings."""


LONGEST_TEXT = 65_535
"""The maximum size of a name, and of a string that is kept, in bytes; longer strings are skipped."""


MOST_TEXT = 4 * 2**20
"""The maximum total size of metadata names and kept strings in bytes."""


UINT32, ARRAY, TEXT = 4, 9, 8


SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", UINT32: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
"""The `struct` formats of scalar metadata types."""


ORIGINAL_SHAPE = "comfy.gguf.orig_shape."
"""The metadata prefix of the original shape of a tensor that ComfyUI-GGUF reshaped so that its rows are whole
blocks."""


@dataclass(frozen=True)
class Entry:
    """A tensor of a GGUF file, with its location."""

    type_number: int
    """The number of its format (GGMLQuantizationType)."""
    shape: tuple[int, ...]
    """The shape in torch's order: the axis of rows, the first in GGUF, is last."""
    start: int
    """The offset in the file."""
    nbytes: int
    """0 if its format is unknown."""


@dataclass(frozen=True)
class Header:
    """The header of a GGUF file."""

    texts: Mapping[str, str]
    """The metadata entries that are short strings."""
    entries: Mapping[str, Entry]


@dataclass
class Cursor:
    """Reads a mapped file sequentially, within limits."""

    mapped: mmap.mmap
    at: int = 0
    steps: int = MOST_STEPS

    def skip(self, count: int) -> int:
        """Skip `count` bytes; returns their start."""
        start, self.at = self.at, self.at + count
        if self.at > len(self.mapped):
            raise ValueError("the file ends inside its header")
        return start

    def numbers(self, layout: str) -> tuple[int, ...]:
        """The next little-endian numbers."""
        return struct.unpack_from("<" + layout, self.mapped, self.skip(struct.calcsize("<" + layout)))

    def number(self, layout: str) -> int:
        """The next little-endian number."""
        return self.numbers(layout)[0]

    def name(self, longest: int = LONGEST_TEXT) -> str:
        """The next string, of at most `longest` bytes."""
        length = self.number("Q")
        if length > longest:
            raise ValueError(f"a name of {length:,} bytes")
        start = self.skip(length)
        return self.mapped[start : self.at].decode("utf-8")

    def step(self, count: int = 1) -> None:
        """Count parsed parts against the limit."""
        self.steps -= count
        if self.steps < 0:
            raise ValueError(f"a header with more than {MOST_STEPS:,} parts")


class OtherVersion(Exception):
    """A valid header of an unsupported version; the message is a phrase."""


def read_header(mapped: mmap.mmap, sizes: Mapping[int, tuple[int, int]]) -> Header:
    """Read and check the header of a GGUF file.

    Args:
        sizes: the number of values in a block, and of its bytes, for each known format.

    Raises:
        ValueError: it is damaged or hostile.
        OtherVersion: it is valid, but big-endian or of an unsupported version.
    """
    cursor = Cursor(mapped, 4)
    version, tensors, values = cursor.numbers("IQQ")
    if version & 0xFFFF == 0:
        raise OtherVersion("with big-endian byte order")
    if version not in VERSIONS:
        raise OtherVersion(f"of version {version}")
    cursor.step(tensors + values)
    if tensors > MOST_TENSORS:
        raise ValueError(f"{tensors:,} tensors, more than {MOST_TENSORS:,}")
    texts, alignment, shapes = read_metadata(cursor, values)
    infos = [read_tensor(cursor) for _ in range(tensors)]
    names = [name for name, *_ in infos]
    check_names(names)
    if len(set(names)) < len(names):
        raise ValueError("duplicate tensor names")
    first = -(-cursor.at // alignment) * alignment
    entries = {
        name: entry_of(name, number, shape, first, offset, alignment, sizes) for name, number, shape, offset in infos
    }
    check_apart(((entry.start, entry.nbytes, name) for name, entry in entries.items()), len(mapped))
    return Header(texts, {name: reshaped(entry, shapes.get(name)) for name, entry in entries.items()})


def read_metadata(cursor: Cursor, count: int) -> tuple[dict[str, str], int, dict[str, tuple[int, ...]]]:
    """The short strings, the alignment, and the original shapes of tensors."""
    texts: dict[str, str] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    alignment, remaining, keys = 32, MOST_TEXT, set()
    for _ in range(count):
        key, value_type = cursor.name(), cursor.number("I")
        remaining -= len(key)
        if key in keys or remaining < 0:
            raise ValueError("metadata with duplicate or too many names")
        keys.add(key)
        if key == "general.alignment":
            alignment = cursor.number("I") if value_type == UINT32 else 0
            if alignment < 1 or alignment & (alignment - 1):
                raise ValueError("an alignment that is not a power of two")
        elif value_type == TEXT:
            length = cursor.number("Q")
            start = cursor.skip(length)
            if length <= min(LONGEST_TEXT, remaining):
                remaining -= length
                texts[key] = mapped_text(cursor, start)
        elif value_type == ARRAY and key.startswith(ORIGINAL_SHAPE):
            shapes[key.removeprefix(ORIGINAL_SHAPE)] = read_shape(cursor)
        elif value_type == ARRAY:
            skip_array(cursor)
        elif value_type in SCALARS:
            cursor.skip(struct.calcsize(SCALARS[value_type]))
        else:
            raise ValueError(f"metadata of unknown type {value_type}")
    return texts, alignment, shapes


def mapped_text(cursor: Cursor, start: int) -> str:
    """The string from `start` to the position of the cursor."""
    return cursor.mapped[start : cursor.at].decode("utf-8")


def read_shape(cursor: Cursor) -> tuple[int, ...]:
    """Read an array of a few integers."""
    value_type, count = cursor.numbers("IQ")
    if SCALARS.get(value_type, "f") in "fd" or count > 8:
        raise ValueError("an invalid shape")
    return shape_of(cursor.numbers(f"{count}{SCALARS[value_type]}"))


def skip_array(cursor: Cursor) -> None:
    """Skip an array of numbers or strings."""
    value_type, count = cursor.numbers("IQ")
    if value_type == TEXT:
        cursor.step(count)
        for _ in range(count):
            cursor.skip(cursor.number("Q"))
    elif value_type in SCALARS:
        cursor.skip(count * struct.calcsize(SCALARS[value_type]))
    else:
        raise ValueError("an array of arrays, or of an unknown type")


def read_tensor(cursor: Cursor) -> tuple[str, int, tuple[int, ...], int]:
    """The name, format, shape and offset of a tensor; the offset is relative to the start of the data."""
    name, axes = cursor.name(4 * LONGEST_NAME), cursor.number("I")
    if axes > MOST_AXES:
        raise ValueError(f"a tensor with {axes:,} axes")
    shape = shape_of(cursor.numbers(f"{axes}Q"))
    type_number, offset = cursor.numbers("IQ")
    return name, type_number, shape[::-1], offset


def entry_of(
    name: str,
    type_number: int,
    shape: tuple[int, ...],
    first: int,
    offset: int,
    alignment: int,
    sizes: Mapping[int, tuple[int, int]],
) -> Entry:
    """The entry of a tensor, after checking its alignment and blocks."""
    (start,) = checked_sizes((first + offset,))
    block, nbytes = sizes.get(type_number, (1, 0))
    row = shape[-1] if shape else 1
    if offset % alignment or row % block:
        raise ValueError(f"{printable(name)} is misaligned, or its rows are not whole blocks")
    return Entry(type_number, shape, start, math.prod(shape) // block * nbytes)


def reshaped(entry: Entry, shape: tuple[int, ...] | None) -> Entry:
    """The entry with the original shape of the tensor."""
    if shape is None:
        return entry
    if math.prod(shape) != math.prod(entry.shape):
        raise ValueError("a tensor whose size differs from its original shape")
    return Entry(entry.type_number, shape, entry.start, entry.nbytes)


GGUF_START = b"GGUF"


DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""The formats that are torch dtypes."""


QUANTIZED = "Q8_0"


def open_gguf(path: Path) -> TensorFile:
    """Open a GGUF file: only its header is read.

    Raises:
        MissingPackage: the package gguf is not installed.
        BadCheckpoint: the file is damaged, hostile, or big-endian.
    """
    gguf = require("gguf", "read GGUF files", "gguf")
    names = {int(number): number.name for number in gguf.GGMLQuantizationType}
    sizes = {int(number): size for number, size in gguf.GGML_QUANT_SIZES.items()}
    try:
        with open_file(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            header, size = read_header(mapped, sizes), len(mapped)
    except OtherVersion as error:
        raise BadCheckpoint(
            f"{path} is a GGUF file {error}.",
            "Expected version 2 or 3, little-endian.",
            "Convert it with `gguf-convert-endian`, or convert the original weights again.",
        ) from error
    except (ValueError, OSError) as error:
        raise damaged(path, printable(str(error), 200)) from error

    def read(keys: Iterable[str]) -> dict[str, Tensor]:
        entries = {key: header.entries[key] for key in keys}
        check_readable(opened, entries)
        mapped = MappedFile(path, size)
        return {key: read_entry(mapped, entry, names, gguf) for key, entry in entries.items()}

    specs = {key: spec_of(entry, names) for key, entry in header.entries.items()}
    opened = TensorFile(path, "gguf", header.texts, specs, read)
    return opened


def spec_of(entry: Entry, names: Mapping[int, str]) -> TensorSpec:
    """The description of a tensor."""
    name = names.get(entry.type_number, f"type {entry.type_number}")
    if name in DTYPES:
        return TensorSpec(entry.shape, DTYPES[name])
    if name == QUANTIZED:
        return TensorSpec(entry.shape, torch.float32, name)
    return TensorSpec(entry.shape, torch.uint8, name, readable=False)


def read_entry(mapped: MappedFile, entry: Entry, names: Mapping[int, str], gguf: ModuleType) -> Tensor:
    """Read the values of a tensor."""
    name = names[entry.type_number]
    if name in DTYPES:
        return mapped.tensor(entry.start, entry.shape, DTYPES[name])
    if 0 in entry.shape:
        return torch.empty(entry.shape)
    blocks = mapped.tensor(entry.start, (entry.nbytes,), torch.uint8).numpy()
    with np.errstate(all="ignore"):  # infinite scales are valid
        values = gguf.dequantize(blocks, gguf.GGMLQuantizationType[name])
    return torch.from_numpy(values).reshape(entry.shape)

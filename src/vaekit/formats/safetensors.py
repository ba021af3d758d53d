"""Read safetensors headers.

A file has eight bytes for the header's length, a JSON header, and the data without gaps. The safetensors library
is not used, because it rejects a whole file for one tensor of an unknown dtype, although the VAE may be readable;
and because it accepts duplicate names. It accepts all files accepted here, except those with unknown dtypes.

Source: the format's description in the README of huggingface/safetensors, and `validate` in its `tensor.rs`.
"""

import json
import math
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.errors import BadCheckpoint, printable, shorten
from vaekit.formats.tensor_file import (
    MappedFile,
    Span,
    TensorFile,
    TensorSpec,
    check_names,
    check_readable,
    checked_size,
    damaged,
    shape_of,
)
from vaekit.json import without_duplicates
from vaekit.reading import open_file

LARGEST_HEADER = 32 * 2**20
"""The maximum size of a header in bytes. Large checkpoints have about 500,000; the library reads up to 100,000,000."""
MOST_MARKS = 1_500_000
"""The maximum number of commas and brackets in a header: Python creates an object for each, which is much larger."""

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    **({"F8_E8M0": torch.float8_e8m0fnu} if "float8_e8m0fnu" in vars(torch) else {}),  # since torch 2.7
    "C64": torch.complex64,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
BITS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E8M0": 8}
"""The bits of known dtypes that are not read, or not by every version of torch: they are packed or rare."""
DTYPE_NAME = re.compile("[A-Z][A-Z0-9_]{0,23}")
"""The pattern of dtype names, including future ones."""


@dataclass(frozen=True)
class Entry:
    """A tensor of a safetensors file, with its location."""

    spec: TensorSpec
    start: int
    """The offset in the file."""
    nbytes: int


@dataclass(frozen=True)
class Header:
    """The header of a safetensors file."""

    metadata: Mapping[str, str]
    entries: Mapping[str, Entry]
    size: int
    """The size of the file in bytes."""


def open_safetensors(path: Path) -> TensorFile:
    """Open a safetensors file: only its header is read.

    Raises:
        BadCheckpoint: it is damaged or hostile.
    """
    header = read_header(path)

    def read(names: Iterable[str]) -> dict[str, Tensor]:
        entries = {name: header.entries[name] for name in names}
        check_readable(file, entries)
        mapped = MappedFile(path, header.size)
        return {name: mapped.tensor(entry.start, entry.spec.shape, entry.spec.dtype) for name, entry in entries.items()}

    def span(name: str) -> Span:
        return Span(path, header.entries[name].start, header.entries[name].nbytes)

    specs = {name: entry.spec for name, entry in header.entries.items()}
    file = TensorFile(path, "safetensors", header.metadata, specs, read, span)
    return file


def raw_header(path: Path) -> bytes:
    """The header of a safetensors file, byte for byte."""
    with open_file(path) as file:
        return file.read(int.from_bytes(file.read(8), "little"))


def read_header(path: Path) -> Header:
    """Read and check the header of a safetensors file.

    Raises:
        BadCheckpoint: it is damaged or hostile.
    """
    with open_file(path) as file:
        (length,) = struct.unpack("<Q", file.read(8))
        size = path.stat().st_size
        if length > size - 8:
            raise damaged(path, f"the header should have {length:,} bytes, but the file has {size:,}")
        if length > LARGEST_HEADER:
            raise damaged(path, f"its header of {length:,} bytes is too large")
        text = file.read(length)
    return header_in(text, size, path)


def header_in(text: bytes, size: int, path: Path) -> Header:
    """Check the header of a safetensors file.

    Args:
        text: the JSON.
        size: of the file in bytes.
        path: for messages.

    Raises:
        BadCheckpoint: it is damaged or hostile.
    """
    try:
        return parse_json_header(text, 8 + len(text), size)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = printable(f"{type(error).__name__}: {error}", 200)
        raise damaged(path, f"its header is invalid ({reason})") from error


def described_tensors(text: bytes, size: int, path: Path) -> TensorFile:
    """The tensors that a header describes, for a file of which nothing else is here. They cannot be read.

    Args:
        text: the JSON.
        size: of the whole file in bytes.
        path: for messages.

    Raises:
        BadCheckpoint: it is damaged or hostile.
    """
    header = header_in(text, size, path)

    def read(names: Iterable[str]) -> dict[str, Tensor]:
        raise BadCheckpoint(
            f"The values of {shorten(names)} decide what {path} is, and only its header is here.",
            "Expected the whole file.",
            "Run `vaekit inspect` where it is.",
        )

    return TensorFile(
        path, "safetensors", header.metadata, {name: one.spec for name, one in header.entries.items()}, read
    )


def parse_json_header(text: bytes, start: int, size: int) -> Header:
    """Parse a header.

    Args:
        text: the JSON.
        start: the offset of the data in the file.
        size: of the file in bytes.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, RecursionError: the header is invalid.
    """
    if sum(map(text.count, (b",", b"[", b"{"))) > MOST_MARKS:
        raise ValueError("too many commas and brackets")
    entries = json.loads(text.decode("utf-8"), object_pairs_hook=without_duplicates, parse_constant=reject_constant)
    metadata = entries.pop("__metadata__", None) or {}
    if not all(isinstance(value, str) for value in metadata.values()):
        raise TypeError("metadata that is not text")
    for text_value in (*entries, *metadata, *metadata.values()):
        text_value.encode()  # a lone surrogate is a ValueError
    check_names(entries)
    parsed = {name: entry_of(fields, start) for name, fields in entries.items()}
    end = start
    for name, entry in sorted(parsed.items(), key=lambda item: (item[1].start, item[1].nbytes)):
        if entry.start != end:
            raise ValueError(f"a gap or an overlap before {printable(name)}")
        end += entry.nbytes
    if end != size:
        raise ValueError(f"the tensors end at byte {end:,} of {size:,}")
    return Header(metadata, parsed, size)


def reject_constant(text: str) -> None:
    """Reject `NaN` and the infinities, which Python reads but JSON does not have."""
    raise ValueError(f"{text}, which is not valid JSON")


def entry_of(fields: Mapping[str, Any], start: int) -> Entry:
    """Parse one entry of a header."""
    shape, name = shape_of(fields["shape"]), fields["dtype"]
    first, last = map(checked_size, fields["data_offsets"])
    if not isinstance(name, str) or not DTYPE_NAME.fullmatch(name):
        raise ValueError(f"an invalid dtype {name!r}")
    dtype = DTYPES.get(name)
    bits = 8 * dtype.itemsize if dtype else BITS.get(name)
    if last < first or (bits is not None and 8 * (last - first) != bits * math.prod(shape)):
        raise ValueError(f"a tensor of shape {list(shape)} and dtype {name} in {last - first:,} bytes")
    spec = TensorSpec(shape, dtype) if dtype else TensorSpec(shape, torch.uint8, name, readable=False)
    return Entry(spec, start + first, last - first)

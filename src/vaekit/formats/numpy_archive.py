"""Read npz files: zips of numpy arrays, as named tensors.

`numpy.savez` stores the arrays, which are mapped from the file; those of `numpy.savez_compressed` are decompressed when
they are read. Arrays of Python objects are pickles: they are neither read nor run.

Source: `numpy.lib.format`, which describes the header of an array: a magic string, a version, and a Python dictionary.
"""

import mmap
import re
import struct
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vaekit.errors import BadCheckpoint, printable
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
from vaekit.formats.zip_directory import Record, content_of, records_of

ENDING = ".npy"
ARRAY_START = b"\x93NUMPY"
LONGEST_HEADER = 10_000
"""The maximum size of an array's header in bytes, as in numpy; larger ones have hundreds of fields."""
HEADER = re.compile(
    r"\{'descr': '(?P<order>[<>|=])(?P<format>[a-zA-Z]\d+)', "
    r"'fortran_order': (?P<fortran>True|False), 'shape': \((?P<shape>[\d, ]*)\),? *\} *\n?"
)
"""The header of an array of plain numbers, as numpy writes it."""
FORMATS = {
    "f2": torch.float16,
    "f4": torch.float32,
    "f8": torch.float64,
    "i1": torch.int8,
    "i2": torch.int16,
    "i4": torch.int32,
    "i8": torch.int64,
    "u1": torch.uint8,
    "u2": torch.uint16,
    "u4": torch.uint32,
    "u8": torch.uint64,
    "b1": torch.bool,
    "c8": torch.complex64,
    "c16": torch.complex128,
}
DAMAGE = (ValueError, LookupError, TypeError, OSError, struct.error)
LATENTS = re.compile(r"latents(_\d+x\d+)?")
"""The names under which kohya's sd-scripts cache latents, with their size in newer versions."""


@dataclass(frozen=True)
class Array:
    """An array in an npz file, before it is read."""

    record: Record
    header: int
    """The size of its header in bytes."""
    spec: TensorSpec
    byteorder: str = "little"
    fortran: bool = False
    """Whether it is stored with its first axis the fastest."""

    @property
    def nbytes(self) -> int:
        return self.record.size - self.header


def is_archive(names: Iterable[str]) -> bool:
    """Whether a zip with these records is an npz file."""
    listed = list(names)
    return bool(listed) and all(name.endswith(ENDING) for name in listed)


def open_archive(path: Path) -> TensorFile:
    """Open an npz file: only the headers of its arrays are read.

    Raises:
        BadCheckpoint: it is damaged or hostile, or holds latents rather than weights.
    """
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            size = len(mapped)
            arrays = arrays_of(mapped)
        check_names(arrays)
    except DAMAGE as error:
        raise damaged(path, printable(f"{type(error).__name__}: {error}", 200)) from error
    refuse_latents(path, arrays)

    def read(names: Iterable[str]) -> dict[str, Tensor]:
        requested = list(names)
        check_readable(opened, requested)
        return {name: read_array(path, size, name, arrays[name]) for name in requested}

    def span(name: str) -> Span | None:
        array = arrays[name]
        stored = array.record.packed is None and not array.fortran and array.byteorder == "little"
        return Span(path, array.record.start + array.header, array.nbytes) if stored else None

    opened = TensorFile(path, "npz", {}, {name: array.spec for name, array in arrays.items()}, read, span)
    return opened


def arrays_of(mapped: mmap.mmap) -> dict[str, Array]:
    """The arrays by name, without the extension of their records."""
    records = records_of(mapped, compressed=True)
    return {name.removesuffix(ENDING): array_of(mapped, record) for name, record in records.items()}


def array_of(mapped: mmap.mmap, record: Record) -> Array:
    """The description of an array.

    Raises:
        ValueError, struct.error: its header is invalid, or it has another size than the header states.
    """
    start = content_of(mapped, record, LONGEST_HEADER + 12)
    if not start.startswith(ARRAY_START):
        raise ValueError("a record that is not an array")
    wide = start[6] > 1
    (length,) = struct.unpack_from("<I" if wide else "<H", start, 8)
    header = (12 if wide else 10) + length
    match = HEADER.fullmatch(start[header - length : header].decode("latin-1"))
    dtype = FORMATS.get(match["format"]) if match else None
    if length > LONGEST_HEADER or not match or dtype is None:  # of objects or records, for example
        return Array(record, 0, TensorSpec((record.size,), torch.uint8, "numpy objects", readable=False))
    shape = shape_of([int(side) for side in match["shape"].split(",") if side.strip()])
    if checked_size(torch.Size(shape).numel() * dtype.itemsize) != record.size - header:
        raise ValueError(f"an array of shape {list(shape)} and dtype {match['format']} in {record.size - header} bytes")
    byteorder = "big" if match["order"] == ">" else "little"
    return Array(record, header, TensorSpec(shape, dtype), byteorder, match["fortran"] == "True" and len(shape) > 1)


def read_array(path: Path, size: int, name: str, array: Array) -> Tensor:
    """The tensor of an array: mapped if it is stored as torch needs it, else a copy.

    Raises:
        BadCheckpoint: the file has changed, or the array cannot be decompressed.
    """
    shape, dtype = array.spec.shape, array.spec.dtype
    if 0 in shape:
        return torch.empty(shape, dtype=dtype)
    if array.record.packed is None:
        storage = MappedFile(path, size).part(array.record.start + array.header, array.nbytes, dtype, array.byteorder)
    else:
        storage = unpacked_storage(path, name, array)
    sides = shape[::-1] if array.fortran else shape
    tensor = torch.empty(0, dtype=dtype).set_(storage).reshape(sides)
    return tensor.permute(*reversed(range(len(sides)))).contiguous() if array.fortran else tensor


def unpacked_storage(path: Path, name: str, array: Array) -> torch.UntypedStorage:
    """The decompressed values of an array, in the machine's byte order.

    Raises:
        BadCheckpoint: it cannot be decompressed.
    """
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            content = content_of(mapped, array.record)[array.header :]
    except DAMAGE as error:
        raise damaged(path, f"{printable(name)}: {error}") from error
    storage = torch.frombuffer(bytearray(content), dtype=torch.uint8).untyped_storage()
    if array.byteorder != sys.byteorder and array.spec.dtype.itemsize > 1:
        storage.byteswap(array.spec.dtype)
    return storage


def refuse_latents(path: Path, arrays: Mapping[str, Array]) -> None:
    """Reject an npz file with latents that a trainer cached.

    Raises:
        BadCheckpoint: it holds latents.
    """
    latents = next((name for name in arrays if LATENTS.fullmatch(name)), None)
    if latents is not None:
        shape = "x".join(map(str, arrays[latents].spec.shape))
        raise BadCheckpoint(
            f"{path} holds the latents of an image ({printable(latents)}, {shape}), as kohya's sd-scripts cache them, "
            "not the weights of a VAE.",
            "Expected the VAE that encoded them.",
            f"If they are raw latents, as those of SD and SDXL are, this decodes them: "
            f"`vaekit.load(VAE).decode(torch.from_numpy(numpy.load(FILE)[{latents!r}])[None].float())`.",
        )

"""Write safetensors files tensor by tensor, with bounded memory.

Tensors of other files are copied as bytes, by the kernel if possible. Equal contents give identical files, regardless
of their order. At most one converted tensor is in memory at a time.
"""

import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from vaekit.errors import BadCheckpoint, CannotWriteHere, WrongTensors, printable
from vaekit.formats.safetensors import DTYPES
from vaekit.formats.tensor_file import Span, TensorFile, dtype_name
from vaekit.json import encodable

Progress = Callable[[int, int], None]
"""Called with the number of written bytes and the total."""
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}
STEP = 8 << 20
"""The size of copied blocks in bytes."""
CONVERTED = 1 << 20
"""The size of converted blocks in bytes: several copies are in memory at a time."""
SYNC_INTERVAL = 256 << 20
"""The number of bytes after which the file is synced to disk: otherwise unwritten pages fill the memory."""
ALIGNMENT = 8
METADATA_ENTRY = "__metadata__"


@dataclass(frozen=True)
class Piece:
    """A tensor to write: its description and the source of its values."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    source: Span | Callable[[], Tensor]
    """A byte range of a file, or a function that returns the tensor when it is written."""
    stored: torch.dtype | None = None
    """The dtype at the source, if the values are to be converted."""
    dtype_name: str = ""
    """The name of a dtype that vaekit copies but does not read."""

    @property
    def nbytes(self) -> int:
        if self.dtype_name and isinstance(self.source, Span):
            return self.source.length
        return math.prod(self.shape) * self.dtype.itemsize

    def tensor(self) -> Tensor:
        """The values in memory.

        Raises:
            BadCheckpoint: the source file has changed.
            WrongTensors: finite values would become infinite.
        """
        parts = list(self.parts())
        joined = torch.cat(parts) if len(parts) > 1 else parts[0] if parts else torch.empty(0, dtype=self.dtype)
        return joined.reshape(self.shape)

    def parts(self) -> Iterator[Tensor]:
        """The values in order, in blocks if they are in a file; raises like `tensor`."""
        if not isinstance(self.source, Span):
            yield converted(self.source().detach().cpu().reshape(-1), self.dtype, self.name)
            return
        with open(self.source.path, "rb", buffering=0) as file:
            file.seek(self.source.start)
            left = self.source.length
            while left:
                block = bytearray(min(left, STEP if self.stored is None else CONVERTED))
                if file.readinto(block) != len(block):  # reads of regular files are complete
                    raise _changed(self.source.path)
                yield converted(torch.frombuffer(block, dtype=self.stored or self.dtype), self.dtype, self.name)
                left -= len(block)


def converted(values: Tensor, dtype: torch.dtype, name: str) -> Tensor:
    """Convert values to another dtype.

    Raises:
        WrongTensors: finite values would become infinite.
    """
    if values.dtype == dtype:
        return values.contiguous()
    wide = computable(values)
    after = wide.to(dtype)
    if not (wide.isfinite() & ~computable(after).isfinite()).any():
        return after
    largest, wanted = wide[wide.isfinite()].abs().max().item(), dtype_name(dtype)
    raise WrongTensors(
        f"Values of {printable(name)}, up to {largest:g}, would become infinite in {wanted}.",
        f"The largest value in {wanted} is {torch.finfo(dtype).max:g}.",
        "Keep this VAE in bf16 or fp32.",
    )


def computable(values: Tensor) -> Tensor:
    """The same values in a dtype that torch computes with: it lacks functions for 8-bit floats."""
    return values.float() if values.dtype.itemsize == 1 else values


def piece_of(file: TensorFile, name: str, new_name: str | None = None) -> Piece:
    """A tensor of a file, optionally with a new name."""
    spec, span = file.specs[name], file.span(name)
    dtype_name = "" if spec.readable else spec.stored
    return Piece(
        new_name or name, spec.shape, spec.dtype, span or (lambda: file.read([name])[name]), dtype_name=dtype_name
    )


def in_order(pieces: Iterable[Piece]) -> list[Piece]:
    """Sort tensors by decreasing element size, so that all are aligned; then by name."""
    return sorted(pieces, key=lambda piece: (-piece.dtype.itemsize, piece.name))


def header(pieces: Sequence[Piece], metadata: Mapping[str, str], listed: Iterable[str] = ()) -> bytes:
    """The header of a file with these tensors in this order; those in `listed` are named first.

    Raises:
        WrongTensors: safetensors does not support the dtype or the name of a tensor.
    """
    entries: dict[str, object] = {}
    end = 0
    for piece in pieces:
        if piece.dtype not in DTYPE_NAMES or piece.name == METADATA_ENTRY:
            raise WrongTensors(
                f"There is a tensor {printable(piece.name)} of {piece.dtype}.",
                "A safetensors file cannot hold this dtype or this name.",
                "Remove it from the source first.",
            )
        start, end = end, end + piece.nbytes
        dtype = piece.dtype_name or DTYPE_NAMES[piece.dtype]
        entries[piece.name] = {"dtype": dtype, "shape": list(piece.shape), "data_offsets": [start, end]}
    ordered = {name: entries[name] for name in listed if name in entries} | entries
    texts = {encodable(name): encodable(value) for name, value in metadata.items()}
    top: dict[str, object] = {METADATA_ENTRY: texts} if metadata else {}
    text = json.dumps(top | ordered, ensure_ascii=False, separators=(",", ":")).encode()
    return text.ljust(-(-len(text) // ALIGNMENT) * ALIGNMENT)


def write_safetensors(
    target: Path, head: bytes, pieces: Sequence[Piece], place: Path, progress: Progress | None = None
) -> None:
    """Write a header and its tensors to the file `target`; messages call it `place`.

    Raises:
        CannotWriteHere: there is too little space on the disk.
        BadCheckpoint: a source file has changed.
        OSError: writing failed.
    """
    total = 8 + len(head) + sum(piece.nbytes for piece in pieces)
    check_free_space(target.parent, total, place)
    with open(target, "wb", buffering=0) as out:
        _write(out, memoryview(len(head).to_bytes(8, "little") + head))
        done, synced = out.tell(), 0
        for piece in pieces:
            for copied in _append(piece, out):
                done += copied
                if progress:
                    progress(done, total)
                if done - synced > SYNC_INTERVAL:
                    _sync(out)
                    synced = done


def check_free_space(folder: Path, needed: int, place: Path) -> None:
    """Check that the disk has enough free space.

    Raises:
        CannotWriteHere: there is not enough free space.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CannotWriteHere(
            f"{place} will have {needed:,} bytes, and its disk has {free:,} bytes free.",
            "Nothing was written.",
            "Free disk space, or choose a path on another disk.",
        )


def _append(piece: Piece, out: BinaryIO) -> Iterator[int]:
    """Append a tensor; yields the size of each block."""
    if isinstance(piece.source, Span) and piece.stored is None:
        return _copy(piece.source, out)
    return _put(piece, out)


def _put(piece: Piece, out: BinaryIO) -> Iterator[int]:
    for values in piece.parts():
        if values.nbytes:
            _write(out, values.view(torch.uint8).numpy().data)
        yield values.nbytes


def _write(out: BinaryIO, content: memoryview) -> None:
    """Write all bytes; the kernel writes at most two gigabytes at a time."""
    while content:
        content = content[out.write(content) :]


def _copy(span: Span, out: BinaryIO) -> Iterator[int]:
    """Append a byte range of a file; yields the size of each block."""
    at, left = span.start, span.length
    with open(span.path, "rb", buffering=0) as file:
        copying = hasattr(os, "copy_file_range")
        while left:
            copied = 0
            if copying:
                try:
                    copied = os.copy_file_range(file.fileno(), out.fileno(), min(left, STEP), offset_src=at)
                except OSError:  # not supported across disks or by the file system
                    copying = False
            if not copied:
                copying = False
                file.seek(at)
                chunk = file.read(min(left, STEP))
                if not chunk:
                    raise _changed(span.path)
                _write(out, memoryview(chunk))
                copied = len(chunk)
            at, left = at + copied, left - copied
            yield copied


def _sync(out: BinaryIO) -> None:
    """Sync the file to disk, and drop its pages from memory."""
    os.fsync(out.fileno())
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(out.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _changed(path: Path) -> BadCheckpoint:
    return BadCheckpoint(f"{path} changed while it was in use.", "Expected it to stay unchanged.", "Try again.")

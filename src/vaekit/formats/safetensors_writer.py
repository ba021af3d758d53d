"""Write safetensors files tensor by tensor, with bounded memory.

Tensors of other files are copied as bytes, by the kernel if possible. The same contents give the same file, byte
for byte, whatever order they come in; and memory holds no more of it than the largest tensor
that has to be converted.
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
from vaekit.formats.tensor_file import Span, TensorFile

Progress = Callable[[int, int], None]
"""Called with the bytes that are written and the bytes there will be."""
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}
STEP = 8 << 20
"""Bytes that are copied at a time."""
CONVERTED = 1 << 20
"""Bytes that are converted at a time: each of them is in memory several times over."""
SETTLED = 256 << 20
"""Bytes after which the file is forced to the disk: else the memory fills with what waits to be written."""
ALIGNMENT = 8
METADATA_ENTRY = "__metadata__"


@dataclass(frozen=True)
class Piece:
    """One tensor on its way into a file: what the header says of it, and where its numbers are."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    source: Span | Callable[[], Tensor]
    """Bytes of a file, or a function that gives the tensor when its turn comes."""
    stored: torch.dtype | None = None
    """What the numbers at the source are in, where they are to be converted."""
    kind: str = ""
    """The format's own word for numbers that vaekit copies and does not read."""

    @property
    def nbytes(self) -> int:
        if self.kind and isinstance(self.source, Span):
            return self.source.length
        return math.prod(self.shape) * self.dtype.itemsize

    def tensor(self) -> Tensor:
        """The numbers, in memory.

        Raises:
            BadCheckpoint: the file that they stand in has changed.
            WrongTensors: some that are finite would not be any more.
        """
        parts = list(self.parts())
        joined = torch.cat(parts) if len(parts) > 1 else parts[0] if parts else torch.empty(0, dtype=self.dtype)
        return joined.reshape(self.shape)

    def parts(self) -> Iterator[Tensor]:
        """The numbers in order, a few megabytes at a time where they stand in a file; raises as `tensor` does."""
        if not isinstance(self.source, Span):
            yield converted(self.source().detach().cpu().reshape(-1), self.dtype, self.name)
            return
        with open(self.source.path, "rb", buffering=0) as file:
            file.seek(self.source.start)
            left = self.source.length
            while left:
                numbers = bytearray(min(left, STEP if self.stored is None else CONVERTED))
                if file.readinto(numbers) != len(numbers):  # a file on a disk gives what it has
                    raise _changed(self.source.path)
                yield converted(torch.frombuffer(numbers, dtype=self.stored or self.dtype), self.dtype, self.name)
                left -= len(numbers)


def converted(numbers: Tensor, dtype: torch.dtype, name: str) -> Tensor:
    """The same numbers in another dtype.

    Raises:
        WrongTensors: some that are finite would not be any more.
    """
    if numbers.dtype == dtype:
        return numbers.contiguous()
    wide = numbers.float() if numbers.dtype.itemsize == 1 else numbers  # torch asks nothing of numbers of 8 bits
    after = wide.to(dtype)
    if not (after.isinf() & wide.isfinite()).any():
        return after
    largest, kind = wide[wide.isfinite()].abs().max().item(), str(dtype).removeprefix("torch.")
    raise WrongTensors(
        f"Values of {printable(name)}, up to {largest:g}, would become infinite in {kind}.",
        f"The largest value in {kind} is {torch.finfo(dtype).max:g}.",
        "Keep this VAE in bf16 or fp32.",
    )


def piece_of(file: TensorFile, name: str, new_name: str | None = None) -> Piece:
    """A tensor of a file as it is, perhaps under another name."""
    spec, span = file.specs[name], file.span(name)
    kind = "" if spec.readable else spec.stored
    return Piece(new_name or name, spec.shape, spec.dtype, span or (lambda: file.read([name])[name]), kind=kind)


def in_order(pieces: Iterable[Piece]) -> list[Piece]:
    """Tensors of wide numbers first, so that each stands at a multiple of its own width; then by name."""
    return sorted(pieces, key=lambda piece: (-piece.dtype.itemsize, piece.name))


def header(pieces: Sequence[Piece], metadata: Mapping[str, str], listed: Iterable[str] = ()) -> bytes:
    """The header of a file with these tensors in this order; it names those in `listed` first.

    Raises:
        WrongTensors: numbers of a kind that safetensors has no name for.
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
        dtype = piece.kind or DTYPE_NAMES[piece.dtype]
        entries[piece.name] = {"dtype": dtype, "shape": list(piece.shape), "data_offsets": [start, end]}
    ordered = {name: entries[name] for name in listed if name in entries} | entries
    told: dict[str, object] = {METADATA_ENTRY: dict(metadata)} if metadata else {}
    text = json.dumps(told | ordered, ensure_ascii=False, separators=(",", ":")).encode()
    return text.ljust(-(-len(text) // ALIGNMENT) * ALIGNMENT)


def write_safetensors(
    target: Path, head: bytes, pieces: Sequence[Piece], place: Path, progress: Progress | None = None
) -> None:
    """Write a header and the tensors that it names into the file `target`; it is told to be `place` in messages.

    Raises:
        CannotWriteHere: there is too little room on the disk.
        BadCheckpoint: a file that is copied from has changed.
        OSError: the disk refuses.
    """
    total = 8 + len(head) + sum(piece.nbytes for piece in pieces)
    check_room(target.parent, total, place)
    with open(target, "wb", buffering=0) as out:
        _write(out, memoryview(len(head).to_bytes(8, "little") + head))
        done, settled = out.tell(), 0
        for piece in pieces:
            for copied in _append(piece, out):
                done += copied
                if progress:
                    progress(done, total)
                if done - settled > SETTLED:
                    _let_go(out)
                    settled = done


def check_room(folder: Path, needed: int, place: Path) -> None:
    """Check that the disk has enough free space.

    Raises:
        CannotWriteHere: the disk has less room.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CannotWriteHere(
            f"{place} will have {needed / 1e9:.2f} GB, and its disk has {free / 1e9:.2f} GB free.",
            "Nothing was written.",
            "Free disk space, or choose a path on another disk.",
        )


def _append(piece: Piece, out: BinaryIO) -> Iterator[int]:
    """Append a tensor; yields how many bytes, step by step."""
    if isinstance(piece.source, Span) and piece.stored is None:
        return _copy(piece.source, out)
    return _put(piece, out)


def _put(piece: Piece, out: BinaryIO) -> Iterator[int]:
    for numbers in piece.parts():
        if numbers.nbytes:
            _write(out, numbers.view(torch.uint8).numpy().data)
        yield numbers.nbytes


def _write(out: BinaryIO, numbers: memoryview) -> None:
    """The kernel takes two gigabytes at a time, and says how many it took."""
    while numbers:
        numbers = numbers[out.write(numbers) :]


def _copy(span: Span, out: BinaryIO) -> Iterator[int]:
    """Append bytes of a file; yields how many, step by step."""
    at, left = span.start, span.length
    with open(span.path, "rb", buffering=0) as file:
        copying = hasattr(os, "copy_file_range")
        while left:
            copied = 0
            if copying:
                try:
                    copied = os.copy_file_range(file.fileno(), out.fileno(), min(left, STEP), offset_src=at)
                except OSError:  # across disks, or of a kind of disk that cannot: the other way tells what is wrong
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


def _let_go(out: BinaryIO) -> None:
    """Have what is written so far on the disk and out of the memory."""
    os.fsync(out.fileno())
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(out.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _changed(path: Path) -> BadCheckpoint:
    return BadCheckpoint(f"{path} changed while it was in use.", "Expected it to stay unchanged.", "Try again.")

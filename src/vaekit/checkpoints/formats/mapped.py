"""Numbers mapped from a file: they are read when they are used, and writing to them never changes the file."""

import sys
from pathlib import Path

import torch
from torch import Tensor

from vaekit.errors import BadCheckpoint


class MappedFile:
    """A file mapped into memory, copy on write.

    Args:
        size: bytes of the file when it was opened.

    Raises:
        BadCheckpoint: the file has changed since then.
    """

    def __init__(self, path: Path, size: int) -> None:
        try:
            whole = torch.UntypedStorage.from_file(str(path), False, size)
        except RuntimeError as error:
            raise BadCheckpoint(
                f"{path} has changed while it was in use.", "Expected it to stay as it is.", "Try again."
            ) from error
        assert isinstance(whole, torch.UntypedStorage)
        self._whole = whole

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

"""What `torch.save` writes: a pickle, and beside it the raw numbers of every tensor.

Since torch 1.6 both stand in an uncompressed zip: `NAME/data.pkl`, and `NAME/data/KEY` for each storage. Before, a
file was five pickles one after the other (a magic number, a version, facts about the machine, the object, the keys of
the storages), then the storages. Either way tensors are described without their numbers being read; those are mapped
from the file when they are asked for, so that a file larger than the memory opens at once.

Sources: `torch/serialization.py` and `torch/csrc/serialization.cpp`.
"""

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vaekit.checkpoints.formats.mapped import MappedFile
from vaekit.checkpoints.formats.pickles import Window, unpickle
from vaekit.checkpoints.formats.stored_tensors import Storage, Storages, StoredTensor, as_text
from vaekit.checkpoints.formats.zip_records import ZIP_START, Packed, records_of
from vaekit.errors import BadCheckpoint, legible

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
"""The first value in a file older than torch 1.6."""
OLD_STARTS = (b"\x80", b"L1195470371460388")
"""How a pickle starts, from protocol 2 on; and how torch's old format starts in protocol 1."""
VERSION = 1001

DAMAGE = (ValueError, LookupError, TypeError, ArithmeticError, EOFError, OSError, struct.error)
"""What reading a damaged file leads into, here and in the standard library."""


@dataclass(frozen=True)
class TorchFile:
    """A checkpoint of torch: what was saved, and where its numbers are."""

    path: Path
    content: object
    """What was saved, each tensor a `StoredTensor`, each unknown object a `Placeholder`."""
    records: Mapping[str, int]
    """Where the numbers of a storage start in the file, by its key."""
    size: int
    byteorder: str

    def read(self, tensors: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
        """Map tensors from the file, copy on write: the file never changes. What shared memory shares it again.

        Raises:
            BadCheckpoint: the file has changed since it was opened.
        """
        whole = MappedFile(self.path, self.size)
        mapped: dict[Storage, torch.UntypedStorage] = {}
        for tensor in tensors.values():
            storage = tensor.storage
            if storage not in mapped:
                start = self.records[storage.key] + storage.start
                mapped[storage] = whole.part(start, storage.nbytes, storage.dtype, self.byteorder)
        return {name: _view(tensor, mapped[tensor.storage]) for name, tensor in tensors.items()}

    def start_of(self, tensor: StoredTensor) -> int | None:
        """Where the numbers of a tensor start in the file; None where they stand in another order than its rows."""
        itemsize = tensor.dtype.itemsize
        if not tensor.is_contiguous or (self.byteorder != "little" and itemsize > 1):
            return None
        return self.records[tensor.storage.key] + tensor.storage.start + tensor.offset * itemsize


def _view(tensor: StoredTensor, storage: torch.UntypedStorage) -> Tensor:
    empty = torch.empty(0, dtype=tensor.dtype)
    if 0 in tensor.shape:  # strides mean nothing here, and need not be such as torch takes
        return empty.new_empty(tensor.shape)
    return empty.set_(storage, tensor.offset, tensor.shape, tensor.stride)


def open_torch_file(path: Path) -> TorchFile:
    """Read what `torch.save` wrote into a file, but for the numbers of its tensors. Nothing in it is run.

    Raises:
        UnsafePickle: the file names something that only serves to run code.
        BadCheckpoint: it is a compressed zip, or a program rather than weights.
        ValueError and the rest of `DAMAGE`: the file is damaged, in one of many ways.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return _open_zip(path, mapped) if mapped[:4] == ZIP_START else _open_stream(path, mapped)


def _open_zip(path: Path, mapped: mmap.mmap) -> TorchFile:
    try:
        entries = records_of(mapped)
    except Packed as error:
        raise BadCheckpoint(
            f"{path} is a compressed zip ({legible(str(error))}), which torch never writes.",
            "Expected a checkpoint as torch.save writes it.",
            "Fetch it again from its source, as safetensors if there is a choice.",
        ) from error
    parents = [name.removesuffix("data.pkl") for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(parents) != 1:
        raise ValueError(f"a zip with {len(parents)} records data.pkl of a checkpoint")
    if f"{parents[0]}constants.pkl" in entries:
        raise BadCheckpoint(
            f"{path} is a TorchScript program, which includes code.",
            "Expected a dictionary of weights.",
            "Look for the weights that it was made from, as safetensors or .pt.",
        )
    inside = {name.removeprefix(parents[0]): entry for name, entry in entries.items() if name.startswith(parents[0])}
    prefix = "data/"
    records = {name.removeprefix(prefix): entry for name, entry in inside.items() if name.startswith(prefix)}
    storages = Storages(len(mapped), {key: record.size for key, record in records.items()})
    pickled = inside["data.pkl"]
    window = Window(mapped, pickled.start, pickled.start + pickled.size)
    content = unpickle(window, storages.builders(), storages.persistent, str(path))
    told = inside.get("byteorder")
    byteorder = mapped[told.start : told.start + min(told.size, 8)] if told else b"little"
    if byteorder not in (b"little", b"big"):
        raise ValueError("an unknown byte order")
    return TorchFile(
        path, content, {key: record.start for key, record in records.items()}, len(mapped), byteorder.decode()
    )


def _open_stream(path: Path, mapped: mmap.mmap) -> TorchFile:
    """Read the format before torch 1.6; or any other pickle, in which there can be no tensors."""
    window = Window(mapped, 0, len(mapped))
    storages = Storages(len(mapped), None)

    def read() -> object:
        return unpickle(window, storages.builders(), storages.persistent, str(path))

    first = read()
    if first != MAGIC_NUMBER:
        return TorchFile(path, first, {}, len(mapped), "little")
    if read() != VERSION:
        raise ValueError("an unknown version of torch's old format")
    read()  # The machine's byte order is in here, but numbers are written little-endian by all machines.
    content = read()
    records = _place(window, read(), storages.found)
    return TorchFile(path, content, records, len(mapped), "little")


def _place(window: Window, keys: object, storages: Mapping[str, Storage]) -> dict[str, int]:
    """Where the storages stand in the old format: one after the other, each after the count of its numbers."""
    records: dict[str, int] = {}
    for key in map(as_text, keys if isinstance(keys, list) else ()):
        storage = storages[key]
        (numbers,) = struct.unpack("<q", window.read(8))
        if numbers * storage.dtype.itemsize != storage.nbytes or window.position + storage.nbytes > window.end:
            raise ValueError(f"the storage {legible(key)} is cut short")
        records[key] = window.position
        window.position += storage.nbytes
    if records.keys() != storages.keys():
        raise ValueError("a storage is missing")
    return records

"""What `torch.save` writes: a pickle, and beside it the raw numbers of every tensor.

Since torch 1.6 both stand in an uncompressed zip: `NAME/data.pkl`, and `NAME/data/KEY` for each storage. Before, a
file was five pickles one after the other (a magic number, a version, facts about the machine, the object, the keys of
the storages), then the storages. Either way tensors are described without their numbers being read; those are mapped
from the file when they are asked for, so that a file larger than the memory opens at once.

Sources: `torch/serialization.py` and `torch/csrc/serialization.cpp`.
"""

import mmap
import struct
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vaekit.checkpoints.formats.pickles import Window, unpickle
from vaekit.checkpoints.formats.stored_tensors import Storage, Storages, StoredTensor, as_text
from vaekit.errors import BadCheckpoint, legible

ZIP_START = b"PK\x03\x04"
MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
"""The first value in a file older than torch 1.6."""
OLD_STARTS = (b"\x80", b"L1195470371460388")
"""How a pickle starts, from protocol 2 on; and how torch's old format starts in protocol 1."""
VERSION = 1001
LOCAL_HEADER = struct.Struct("<4s22xHH")
"""Before each record of a zip: a signature, and the lengths of the name and of the extra field."""

DAMAGE = (
    *(ValueError, LookupError, TypeError, ArithmeticError, NotImplementedError, EOFError, OSError),
    *(struct.error, zipfile.BadZipFile),
)
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
        try:
            whole = torch.UntypedStorage.from_file(str(self.path), False, self.size)
        except RuntimeError as error:
            raise BadCheckpoint(
                f"{self.path} has changed while it was in use.", "Expected it to stay as it is.", "Try again."
            ) from error
        assert isinstance(whole, torch.UntypedStorage)
        mapped: dict[Storage, torch.UntypedStorage] = {}
        for tensor in tensors.values():
            if tensor.storage not in mapped:
                mapped[tensor.storage] = self._map(whole, tensor.storage)
        return {name: _view(tensor, mapped[tensor.storage]) for name, tensor in tensors.items()}

    def start_of(self, tensor: StoredTensor) -> int | None:
        """Where the numbers of a tensor start in the file; None where they stand in another order than its rows."""
        itemsize = tensor.dtype.itemsize
        if not tensor.is_contiguous or (self.byteorder != "little" and itemsize > 1):
            return None
        return self.records[tensor.storage.key] + tensor.storage.start + tensor.offset * itemsize

    def _map(self, whole: torch.UntypedStorage, storage: Storage) -> torch.UntypedStorage:
        start, itemsize = self.records[storage.key] + storage.start, storage.dtype.itemsize
        part = whole[start : start + storage.nbytes // itemsize * itemsize]
        assert isinstance(part, torch.UntypedStorage)  # a slice, unlike a single byte
        turned = self.byteorder != sys.byteorder and itemsize > 1
        # The old format aligns nothing, and kernels take numbers to stand at multiples of their size.
        if turned or part.data_ptr() % min(itemsize, 8):
            part = part.clone()
        if turned:
            part.byteswap(storage.dtype)
        return part


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
    entries = _entries(path)
    parent = next((name.removesuffix("data.pkl") for name in entries if name.endswith("/data.pkl")), None)
    if parent is None:
        raise ValueError("a zip without the record data.pkl of a checkpoint")
    if f"{parent}constants.pkl" in entries:
        raise BadCheckpoint(
            f"{path} is a TorchScript program, which includes code.",
            "Expected a dictionary of weights.",
            "Look for the weights that it was made from, as safetensors or .pt.",
        )
    inside = {name.removeprefix(parent): entry for name, entry in entries.items() if name.startswith(parent)}
    starts = {name: _record_start(entry, mapped) for name, entry in inside.items()}
    prefix = "data/"
    records = {name.removeprefix(prefix): start for name, start in starts.items() if name.startswith(prefix)}
    storages = Storages(len(mapped), {key: inside[prefix + key].file_size for key in records})
    pickled = Window(mapped, starts["data.pkl"], starts["data.pkl"] + inside["data.pkl"].file_size)
    content = unpickle(pickled, storages.builders(), storages.persistent, str(path))
    byteorder = b"little"
    if "byteorder" in starts:
        byteorder = mapped[starts["byteorder"] : starts["byteorder"] + inside["byteorder"].file_size]
    if byteorder not in (b"little", b"big"):
        raise ValueError("an unknown byte order")
    return TorchFile(path, content, records, len(mapped), byteorder.decode())


def _entries(path: Path) -> dict[str, zipfile.ZipInfo]:
    """The records of a zip, none of them packed, encrypted or there twice."""
    with zipfile.ZipFile(path) as archive:
        listed = archive.infolist()
    packed = next((entry.filename for entry in listed if entry.compress_type != zipfile.ZIP_STORED), "")
    if packed:  # mapped, its bytes would pass for weights; unpacked, a small file may fill the memory
        raise BadCheckpoint(
            f"{path} is a compressed zip ({legible(packed)}), which torch never writes.",
            "Expected a checkpoint as torch.save writes it.",
            "Fetch it again from its source, as safetensors if there is a choice.",
        )
    entries = {entry.filename: entry for entry in listed}
    if len(entries) < len(listed):  # readers disagree on which of them counts
        raise ValueError("a zip with two records of one name")
    if any(entry.flag_bits & 1 for entry in listed):
        raise ValueError("an encrypted zip")
    return entries


def _record_start(entry: zipfile.ZipInfo, mapped: mmap.mmap) -> int:
    """Where the bytes of a record start, all of which are in the file."""
    at = entry.header_offset
    signature, name, extra = LOCAL_HEADER.unpack(mapped[at : at + LOCAL_HEADER.size])
    start: int = at + LOCAL_HEADER.size + name + extra
    if signature != ZIP_START or start + entry.file_size > len(mapped) or entry.file_size != entry.compress_size:
        raise ValueError(f"the record {legible(entry.filename)} is not where the zip says")
    return start


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

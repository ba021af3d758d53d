"""Read torch checkpoints: tensors are described by a pickle, and their data is mapped from the file.

Sources: `torch/_utils.py` (the functions named `_rebuild_*`), `persistent_load` in `torch/serialization.py`.
"""

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from vaekit.errors import BadCheckpoint, printable
from vaekit.formats.pickle_machine import Window, unpickle
from vaekit.formats.pickle_names import storage_dtype
from vaekit.formats.pickle_values import Builder, Placeholder
from vaekit.formats.tensor_file import MappedFile, checked_size, checked_sizes, shape_of
from vaekit.formats.torchscript import script_object, script_state
from vaekit.formats.zip_directory import ZIP_START, Record, records_of
from vaekit.reading import open_file

WITHOUT_STORAGE = "a tensor without storage"
"""The placeholder for a tensor without data in the file."""


@dataclass(frozen=True)
class Storage:
    """Raw data in a file: a record, or a part of one."""

    key: str
    dtype: torch.dtype
    start: int
    """The offset in the record, in bytes."""
    nbytes: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor whose data has not been read from the file."""

    storage: Storage
    offset: int
    """The offset in elements, like strides."""
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        return self.storage.dtype

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def is_contiguous(self) -> bool:
        """Whether it is contiguous in row-major order."""
        step = 1
        for side, stride in reversed(list(zip(self.shape, self.stride, strict=True))):
            if side > 1 and stride != step:
                return False
            step *= side
        return True


@dataclass(frozen=True)
class UnreadTensor:
    """A tensor of a class that vaekit does not read, such as a quantized one of torchao."""

    kind: str
    """The name of the class."""
    shape: tuple[int, ...]


def unread(kind: object, shape: object) -> "UnreadTensor | Placeholder":
    """A tensor of a class that a pickle names; a placeholder if its shape is invalid."""
    try:
        name = kind.name if isinstance(kind, Placeholder) else str(kind)
        return UnreadTensor(name, shape_of(list(shape) if isinstance(shape, tuple) else shape))
    except ValueError:
        return Placeholder("tensor subclass")


@dataclass
class Storages:
    """The storages in a pickle and the tensors that view them, each checked against its storage."""

    file_size: int
    sizes: Mapping[str, int] | None
    """The size of each storage in bytes by key, if known before the pickle is read."""
    by_key: dict[str, Storage] = field(default_factory=dict)
    excess: int = 0
    """The total number of bytes by which tensors exceed the storages that they view."""
    views: set[Storage] = field(default_factory=set)
    """All storages that tensors may view: whole ones and parts, in each dtype."""
    viewed: int = 0
    """Their total size in bytes; each may have to be copied when it is read."""

    def builders(self) -> dict[str, Builder]:
        """The replacements of torch's functions, by name."""
        plain: dict[str, Builder] = {
            "torch._utils._rebuild_tensor": self.tensor,
            "torch._utils._rebuild_tensor_v2": self.tensor,
            "torch._utils._rebuild_tensor_v3": self.tensor_of_dtype,
            "torch._utils._rebuild_parameter": lambda data, *_: data,
            "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
            "torch._utils._rebuild_wrapper_subclass": lambda kind, _dtype, shape, *_: unread(kind, shape),
            "torch._utils._rebuild_qtensor": lambda _storage, _offset, shape, *_: unread("torch's quantizer", shape),
        }

        def subclass(function: object, _type: object, arguments: tuple[object, ...], _state: object) -> object:
            """A tensor of a subclass, or with attributes: the tensor alone."""
            builder = plain.get(function.name) if isinstance(function, Placeholder) else None
            return builder(*arguments) if builder else Placeholder("tensor subclass")

        return plain | {"torch._tensor._rebuild_from_type_v2": subclass}

    def persistent(self, pid: object) -> object:
        """The storage of a persistent id: ("storage", class, key, location, count[, view])."""
        tag, *facts = pid if isinstance(pid, tuple) and pid else (None,)
        if as_text(tag) == "module" and facts:  # a class whose source code follows
            return facts[0]
        if as_text(tag) != "storage" or len(facts) not in (4, 5):
            return Placeholder("persistent id")
        storage_class, key, _location, count, *views = facts
        dtype = storage_dtype(storage_class.name) if isinstance(storage_class, Placeholder) else None
        if dtype is None:
            raise ValueError("a storage of an unknown dtype")
        storage = self.storage(as_text(key), dtype, checked_size(count) * dtype.itemsize)
        return self.view(storage if not views or views[0] is None else part_of(storage, views[0]))

    def view(self, storage: Storage) -> Storage:
        """Register a storage that tensors view, and count its size."""
        if storage not in self.views:
            self.views.add(storage)
            self.viewed += storage.nbytes
            if self.viewed > 4 * self.file_size:
                raise ValueError("storages that claim more data than the file holds")
        return storage

    def storage(self, key: str, dtype: torch.dtype, nbytes: int) -> Storage:
        """The storage of this key, which must have at least this size."""
        size = nbytes if self.sizes is None else self.sizes.get(key, -1)
        storage = self.by_key.setdefault(key, Storage(key, dtype, 0, size))
        if nbytes > storage.nbytes:
            raise ValueError(f"the storage {printable(key)} should have {nbytes:,} bytes, but has {storage.nbytes:,}")
        return replace(storage, dtype=dtype)

    def tensor(
        self, storage: object, offset: object, shape: object, stride: object, *others: object
    ) -> StoredTensor | Placeholder:
        """`_rebuild_tensor` and `_rebuild_tensor_v2`; the third of the other arguments holds conjugate and negative
        bits."""
        if len(others) > 2 and others[2]:  # lazily negated or conjugated values
            return Placeholder("a tensor with conjugate or negative bits")
        return self.build(storage, offset, shape, stride)

    def tensor_of_dtype(
        self, storage: object, offset: object, shape: object, stride: object, *others: object
    ) -> StoredTensor | Placeholder:
        """`_rebuild_tensor_v3`: the other arguments are requires_grad, hooks, dtype, and optionally conjugate and
        negative bits."""
        dtype = others[2] if len(others) > 2 else None
        if not isinstance(dtype, torch.dtype) or any(others[3:]):
            return Placeholder("a tensor of an unsupported dtype")
        # The storage is untyped; the dtype determines how bytes are swapped on a big-endian machine.
        typed = self.view(replace(storage, dtype=dtype)) if isinstance(storage, Storage) else storage
        return self.build(typed, offset, shape, stride)

    def build(self, storage: object, offset: object, shape: object, stride: object) -> StoredTensor | Placeholder:
        """A tensor, after checking that it is inside its storage."""
        if not isinstance(storage, Storage):
            return Placeholder(WITHOUT_STORAGE)
        tensor = StoredTensor(storage, checked_size(offset), shape_of(shape), checked_sizes(stride))
        if len(tensor.shape) != len(tensor.stride):
            raise ValueError("a tensor with different numbers of strides and sizes")
        count, itemsize = math.prod(tensor.shape), storage.dtype.itemsize
        last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True))
        if count and (last + 1) * itemsize > storage.nbytes:
            raise ValueError("a tensor exceeds its storage")
        self.excess += max(0, count * itemsize - storage.nbytes)
        if self.excess > self.file_size:  # one value repeated by a stride of zero
            raise ValueError("a tensor claims more data than the file holds")
        return tensor


def part_of(storage: Storage, view: object) -> Storage:
    """A view of a storage, in files of torch before 0.4: (key, offset, count)."""
    if not (isinstance(view, tuple) and len(view) == 3):
        raise ValueError("a storage view without a storage")
    start, nbytes = (checked_size(number) * storage.dtype.itemsize for number in view[1:])
    if start + nbytes > storage.nbytes:
        raise ValueError("a view exceeds its storage")
    return Storage(storage.key, storage.dtype, start, nbytes)


def as_text(value: object) -> str:
    """A name in a persistent id, which Python 2 wrote as bytes."""
    if isinstance(value, bytes):
        return value.decode("ascii")
    return str(value) if isinstance(value, (str, int)) else ""


MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
"""The first value in a file older than torch 1.6."""


OLD_STARTS = (b"\x80", b"L1195470371460388")
"""The first bytes of a pickle of protocol 2 or later, and of torch's old format in protocol 1."""


VERSION = 1001


DAMAGE = (ValueError, LookupError, TypeError, ArithmeticError, EOFError, OSError, struct.error)
"""The exceptions that damaged files raise, here and in the standard library."""


@dataclass(frozen=True)
class TorchFile:
    """A torch checkpoint: its content, and the offsets of its data."""

    path: Path
    content: object
    """The saved object, with tensors as `StoredTensor` and unknown objects as `Placeholder`."""
    records: Mapping[str, int]
    """The offset of each storage in the file, by key."""
    size: int
    byteorder: str
    format: str = "pickle"
    """"pickle", or "torchscript" for a program whose modules are in the content as a dictionary."""

    def read(self, tensors: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
        """Map tensors from the file, copy on write: the file is never modified. Tensors that shared memory share it
        again.

        Raises:
            BadCheckpoint: the file has changed since it was opened.
        """
        file = MappedFile(self.path, self.size)
        mapped: dict[Storage, torch.UntypedStorage] = {}
        for tensor in tensors.values():
            storage = tensor.storage
            if storage not in mapped:
                start = self.records[storage.key] + storage.start
                mapped[storage] = file.part(start, storage.nbytes, storage.dtype, self.byteorder)
        return {name: _view(tensor, mapped[tensor.storage]) for name, tensor in tensors.items()}

    def start_of(self, tensor: StoredTensor) -> int | None:
        """The offset of a tensor in the file; None if it is not contiguous."""
        itemsize = tensor.dtype.itemsize
        if not tensor.is_contiguous or (self.byteorder != "little" and itemsize > 1):
            return None
        return self.records[tensor.storage.key] + tensor.storage.start + tensor.offset * itemsize


def _view(tensor: StoredTensor, storage: torch.UntypedStorage) -> Tensor:
    empty = torch.empty(0, dtype=tensor.dtype)
    if 0 in tensor.shape:  # strides are irrelevant, and may be invalid for torch
        return empty.new_empty(tensor.shape)
    return empty.set_(storage, tensor.offset, tensor.shape, tensor.stride)


def open_torch_file(path: Path) -> TorchFile:
    """Read a file of `torch.save`, except the data of its tensors. Nothing in it is run.

    Raises:
        UnsafePickle: the file references functions that execute code.
        BadCheckpoint: it is a compressed zip.
        ValueError and the other errors of `DAMAGE`: the file is damaged.
    """
    with open_file(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return _open_zip(path, mapped) if mapped[:4] == ZIP_START else _open_stream(path, mapped)


def _open_zip(path: Path, mapped: mmap.mmap) -> TorchFile:
    entries = records_of(mapped, compressed=True)
    parents = [name.removesuffix("data.pkl") for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(parents) != 1:
        raise ValueError(f"a zip with {len(parents)} records data.pkl")
    inside = {name.removeprefix(parents[0]): entry for name, entry in entries.items() if name.startswith(parents[0])}
    prefix = "data/"
    records = {name.removeprefix(prefix): entry for name, entry in inside.items() if name.startswith(prefix)}
    script = "constants.pkl" in inside
    read = {name: inside[name] for name in ("data.pkl", "byteorder") if name in inside} | records
    _refuse_compressed(path, read, script)
    storages = Storages(len(mapped), {key: each.size for key, each in records.items()})
    pickled = inside["data.pkl"]
    window = Window(mapped, pickled.start, pickled.start + pickled.size)
    content = unpickle(
        window, storages.builders(), storages.persistent, str(path), script_object if script else Placeholder
    )
    record = inside.get("byteorder")
    byteorder = mapped[record.start : record.start + min(record.size, 8)] if record else b"little"
    if byteorder not in (b"little", b"big"):
        raise ValueError("an unknown byte order")
    starts = {key: each.start for key, each in records.items()}
    order, size = byteorder.decode(), len(mapped)
    if script:
        return TorchFile(path, script_state(content), starts, size, order, "torchscript")
    return TorchFile(path, content, starts, size, order)


def _refuse_compressed(path: Path, records: Mapping[str, Record], script: bool) -> None:
    """Reject a zip whose weights are compressed, and so cannot be mapped. The code of a TorchScript program often is.

    Raises:
        BadCheckpoint: with the first of them.
    """
    packed = next((name for name, record in records.items() if record.packed is not None), None)
    if packed is not None:
        name, writer = ("TorchScript program", "torch.jit.save") if script else ("torch checkpoint", "torch.save")
        again = "torch.jit.load(FILE).state_dict()" if script else "torch.load(FILE, weights_only=True)"
        raise BadCheckpoint(
            f"{path} is a {name} that was compressed after it was saved ({printable(packed)}).",
            f"Expected stored tensors, as {writer} writes them.",
            f"Save its weights again with torch: `torch.save({again}, NEW_FILE)`.",
        )


def _open_stream(path: Path, mapped: mmap.mmap) -> TorchFile:
    """Read the format before torch 1.6; or any other pickle, which cannot contain tensors."""
    window = Window(mapped, 0, len(mapped))
    storages = Storages(len(mapped), None)

    def read() -> object:
        return unpickle(window, storages.builders(), storages.persistent, str(path))

    first = read()
    if first != MAGIC_NUMBER:
        return TorchFile(path, first, {}, len(mapped), "little")
    if read() != VERSION:
        raise ValueError("an unknown version of torch's old format")
    read()  # The machine's byte order is stored here, but data is little-endian on all machines.
    content = read()
    records = _place(window, read(), storages.by_key)
    return TorchFile(path, content, records, len(mapped), "little")


def _place(window: Window, keys: object, storages: Mapping[str, Storage]) -> dict[str, int]:
    """The offsets of storages in the old format: consecutive, each after its element count."""
    records: dict[str, int] = {}
    for key in map(as_text, keys if isinstance(keys, list) else ()):
        storage = storages[key]
        (count,) = struct.unpack("<q", window.read(8))
        if count * storage.dtype.itemsize != storage.nbytes or window.position + storage.nbytes > window.end:
            raise ValueError(f"the storage {printable(key)} is truncated")
        records[key] = window.position
        window.position += storage.nbytes
    if records.keys() != storages.keys():
        raise ValueError("a storage is missing")
    return records

"""Tensors described by a pickle, checked against their storages; their numbers stay in the file.

Sources: `torch/_utils.py` (the functions named `_rebuild_*`), `persistent_load` in `torch/serialization.py`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch

from vaekit.checkpoints.formats.pickled_names import storage_dtype
from vaekit.checkpoints.formats.pickled_values import Builder, Placeholder
from vaekit.checkpoints.formats.tensor_file import counts, shape_of, whole
from vaekit.errors import legible

WITHOUT_STORAGE = "a tensor without storage"
"""The placeholder for a tensor whose numbers are in no record of the file."""


@dataclass(frozen=True)
class Storage:
    """Raw numbers in a file: a record, or a part of one."""

    key: str
    dtype: torch.dtype
    start: int
    """Bytes after the start of the record."""
    nbytes: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor whose numbers are still in the file."""

    storage: Storage
    offset: int
    """Counted in numbers, as strides are."""
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
        """Whether its numbers stand one after the other, row by row."""
        step = 1
        for side, stride in reversed(list(zip(self.shape, self.stride, strict=True))):
            if side > 1 and stride != step:
                return False
            step *= side
        return True


@dataclass
class Storages:
    """The storages that a pickle speaks of, and the tensors it builds over them, each checked against its storage."""

    file_size: int
    sizes: Mapping[str, int] | None
    """Bytes of each storage by its key, as far as they are known before the pickle is read."""
    found: dict[str, Storage] = field(default_factory=dict)
    swollen: int = 0
    """Bytes by which all tensors are larger than what they are views of."""
    views: set[Storage] = field(default_factory=set)
    """Everything that tensors may be over: storages, parts of them, and both as numbers of several kinds."""
    viewed: int = 0
    """Bytes of all these together; each may have to be copied when it is read."""

    def builders(self) -> dict[str, Builder]:
        """What to call in place of torch's functions, by their names."""
        plain: dict[str, Builder] = {
            "torch._utils._rebuild_tensor": self.tensor,
            "torch._utils._rebuild_tensor_v2": self.tensor,
            "torch._utils._rebuild_tensor_v3": self.tensor_of_dtype,
            "torch._utils._rebuild_parameter": lambda data, *_: data,
            "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
        }

        def subclass(function: object, _type: object, arguments: tuple[object, ...], _state: object) -> object:
            """A tensor of a subclass, or with attributes: the tensor alone."""
            builder = plain.get(function.name) if isinstance(function, Placeholder) else None
            return builder(*arguments) if builder else Placeholder("tensor subclass")

        return plain | {"torch._tensor._rebuild_from_type_v2": subclass}

    def persistent(self, pid: object) -> object:
        """The storage that a persistent id describes: ("storage", class, key, location, numbers[, view])."""
        kind, *facts = pid if isinstance(pid, tuple) and pid else (None,)
        if as_text(kind) == "module" and facts:  # a class whose source code follows
            return facts[0]
        if as_text(kind) != "storage" or len(facts) not in (4, 5):
            return Placeholder("persistent id")
        storage_class, key, _location, numbers, *views = facts
        dtype = storage_dtype(storage_class.name) if isinstance(storage_class, Placeholder) else None
        if dtype is None:
            raise ValueError("a storage of unknown numbers")
        storage = self.storage(as_text(key), dtype, whole(numbers) * dtype.itemsize)
        return self.view(storage if not views or views[0] is None else part_of(storage, views[0]))

    def view(self, storage: Storage) -> Storage:
        """The storage, counted if it is a new one."""
        if storage not in self.views:
            self.views.add(storage)
            self.viewed += storage.nbytes
            if self.viewed > 4 * self.file_size:
                raise ValueError("storages that claim more numbers than the whole file holds")
        return storage

    def storage(self, key: str, dtype: torch.dtype, nbytes: int) -> Storage:
        """The storage of this key, which must have as many bytes as are asked for."""
        size = nbytes if self.sizes is None else self.sizes.get(key, -1)
        there = self.found.setdefault(key, Storage(key, dtype, 0, size))
        if nbytes > there.nbytes:
            raise ValueError(f"the storage {legible(key)} should have {nbytes:,} bytes, it has {there.nbytes:,}")
        return replace(there, dtype=dtype)

    def tensor(
        self, storage: object, offset: object, shape: object, stride: object, *others: object
    ) -> StoredTensor | Placeholder:
        """`_rebuild_tensor` and `_rebuild_tensor_v2`; the latter's sixth argument after these may hold odd bits."""
        if len(others) > 2 and others[2]:  # numbers to be negated or conjugated when they are read
            return Placeholder("a tensor with odd bits")
        return self.build(storage, offset, shape, stride)

    def tensor_of_dtype(
        self, storage: object, offset: object, shape: object, stride: object, *others: object
    ) -> StoredTensor | Placeholder:
        """`_rebuild_tensor_v3`: other arguments are requires_grad, hooks, dtype and perhaps odd bits."""
        dtype = others[2] if len(others) > 2 else None
        if not isinstance(dtype, torch.dtype) or any(others[3:]):
            return Placeholder("a tensor of odd numbers")
        # The storage is one of bytes; what it holds decides how they are turned on a machine of the other order.
        typed = self.view(replace(storage, dtype=dtype)) if isinstance(storage, Storage) else storage
        return self.build(typed, offset, shape, stride)

    def build(self, storage: object, offset: object, shape: object, stride: object) -> StoredTensor | Placeholder:
        """A tensor all of whose numbers are inside its storage."""
        if not isinstance(storage, Storage):
            return Placeholder(WITHOUT_STORAGE)
        tensor = StoredTensor(storage, whole(offset), shape_of(shape), counts(stride))
        if len(tensor.shape) != len(tensor.stride):
            raise ValueError("a tensor with more strides than sides, or fewer")
        numbers, itemsize = math.prod(tensor.shape), storage.dtype.itemsize
        last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True))
        if numbers and (last + 1) * itemsize > storage.nbytes:
            raise ValueError("a tensor reaches beyond its storage")
        self.swollen += max(0, numbers * itemsize - storage.nbytes)
        if self.swollen > self.file_size:  # one number repeated by a stride of zero
            raise ValueError("a tensor claims more numbers than the whole file holds")
        return tensor


def part_of(storage: Storage, view: object) -> Storage:
    """A view of a storage, in files of torch before 0.4: (key, offset, numbers)."""
    if not (isinstance(view, tuple) and len(view) == 3):
        raise ValueError("a view of a storage that says not of what")
    start, nbytes = (whole(number) * storage.dtype.itemsize for number in view[1:])
    if start + nbytes > storage.nbytes:
        raise ValueError("a view reaches beyond its storage")
    return Storage(storage.key, storage.dtype, start, nbytes)


def as_text(value: object) -> str:
    """A name in a persistent id, which Python 2 wrote as bytes."""
    if isinstance(value, bytes):
        return value.decode("ascii")
    return str(value) if isinstance(value, (str, int)) else ""

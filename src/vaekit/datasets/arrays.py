"""Files with many items in one array: MNIST's idx, and NumPy's npy and npz."""

import gzip
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaekit.datasets.dataset import ArrayRecord, RecordFormat, Splits, reopened
from vaekit.datasets.listing import digest_of
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.source import Source, for_tests
from vaekit.errors import NoTrainingData, counted, printable
from vaekit.reading import open_file, refuse_beyond_memory

IDX = {8: np.uint8}
"""Supported data types of idx files, by code."""
KEYS = ("x", "images", "x_train", "train_images", "train", "data", "arr_0")
"""Usual names of the array of items in npz files."""
TEST_KEYS = ("x_test", "test_images", "test", "x_val", "val_images")
"""Usual names of the array of the test split."""
UNREADABLE_ZIP = (OSError, ValueError, EOFError, LookupError, MemoryError, RuntimeError, zlib.error, zipfile.BadZipFile)
"""Exceptions of reading a damaged npz. zipfile raises RuntimeError for encryption and unknown compression."""


@dataclass(frozen=True, eq=False)
class Arrays:
    """Items of one shape in an array."""

    values: NDArray[Any]
    """(n, ...), in the domain's layout; in memory, or memory-mapped."""
    full_scale: float | None
    """See `ArrayRecord`."""
    file: str
    """The name of the file, for messages."""
    digest: str
    reopen: "Callable[[], Arrays] | None" = None
    """Opens a memory-mapped file again, for pickling; None for arrays in memory."""
    kind = "array"

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle the path of a memory-mapped file, not its content."""
        return super().__reduce_ex__(protocol) if self.reopen is None else (reopened, (self.reopen, self.digest))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def in_memory(self) -> bool:
        """Whether items are read without disk access."""
        return not isinstance(self.values, np.memmap)

    def key(self, item: int) -> str:
        return f"{self.file}[{item}]"

    def read(self, item: int) -> ArrayRecord:
        return ArrayRecord(self.key(item), np.asarray(self.values[item]), self.full_scale)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array of an idx file, gzipped or not (the format of http://yann.lecun.com/exdb/mnist): (n, h, w), bytes.

    Raises:
        NoTrainingData: the file is damaged or of another format.
    """
    try:
        with open_file(path) as packed:
            zipped = packed.read(2) == b"\x1f\x8b"
        with open_file(path) as stored, gzip.open(stored) if zipped else stored as file:
            # Read the header first, and decompress no more than it announces.
            zero, kind, axes = struct.unpack(">HBB", file.read(4))
            if zero or kind not in IDX:
                raise ValueError(f"unsupported header: magic {zero}, type code {kind}")
            shape = struct.unpack(f">{axes}I", file.read(4 * axes))
            refuse_beyond_memory(math.prod(shape), path)
            raw = bytearray(file.read(math.prod(shape) + 1))
        if len(raw) != math.prod(shape):
            size = counted(len(raw), "value") if len(raw) < math.prod(shape) else "more values"
            raise ValueError(f"it has {size}, its header announces {math.prod(shape):,}")
        return np.frombuffer(raw, IDX[kind]).reshape(shape)
    except (OSError, EOFError, ValueError, OverflowError, MemoryError, zlib.error, struct.error) as error:
        raise NoTrainingData(
            f"{path} is not a valid idx file of bytes ({str(error) or 'it does not fit into memory'}).",
            "",
            "Copy it again, or unpack it if it is an archive of other files.",
        ) from error


def read_npy(path: Path, expected: str) -> NDArray[Any]:
    """Memory-map the array of an npy file.

    Raises:
        NoTrainingData: the file is damaged, or its values are not plain numbers.
    """
    try:
        return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise NoTrainingData(f"{path} cannot be read: {printable(str(error))}.", expected, "") from error


def read_npz(path: Path, expected: str) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Read the training items of an npz file, and the test items if there are any.

    Raises:
        NoTrainingData: the file is damaged, or none of its arrays has a usual name.
    """
    try:
        with open_file(path) as opened, np.load(opened, allow_pickle=False) as file:
            names = {name.lower(): name for name in file.files}
            train = next((names[key] for key in KEYS if key in names), None)
            if train is None and len(names) == 1:
                train = file.files[0]
            if train is None:
                raise NoTrainingData(
                    f"{path} has arrays named {printable(', '.join(file.files)) or 'nothing'}.",
                    f"Expected one of {', '.join(KEYS)}.",
                    "Save the items under one of these names.",
                )
            test = next((names[key] for key in TEST_KEYS if key in names), None)
            refuse_beyond_memory(unpacked_size(file, train, test), path)
            return array_in(file, train, path, expected), (
                None if test is None else array_in(file, test, path, expected)
            )
    except UNREADABLE_ZIP as error:
        raise NoTrainingData(f"{path} cannot be read: {printable(str(error))}.", expected, "Save it again.") from error


def unpacked_size(file: Any, *names: str | None) -> int:
    """The size in bytes of arrays of an npz file in memory, as its directory announces it; reading stops there."""
    entries = {entry.filename.removesuffix(".npy"): entry.file_size for entry in file.zip.infolist()}
    return sum(entries.get(name.removesuffix(".npy"), 0) for name in names if name is not None)


def array_in(file: Mapping[str, Any], name: str, path: Path, expected: str) -> NDArray[Any]:
    """Read one array of an npz file.

    Raises:
        NoTrainingData: the entry is not an array: any zip file may have the suffix.
    """
    values = file[name]
    if not isinstance(values, np.ndarray):
        raise NoTrainingData(
            f"The entry {printable(name)} of {path} is not an array.", expected, "Unpack it if it is a zip file."
        )
    return values


def arrays_of(values: NDArray[Any], file: str, wanted: RecordFormat) -> Arrays:
    """An array as a data set, in the domain's layout.

    Raises:
        NoTrainingData: it is not an array of items of the domain.
    """
    assert wanted.arrange is not None
    digest = digest_of([(f"{file} {values.shape} {values.dtype.str}", values.nbytes)])
    placed, full_scale = wanted.arrange(values, file)
    return Arrays(placed, full_scale, file, digest)


def mapped_arrays(path: Path, wanted: RecordFormat) -> Arrays:
    """The items of a memory-mapped npy file.

    Raises:
        NoTrainingData: see `read_npy` and `arrays_of`.
    """
    arrays = arrays_of(read_npy(path, wanted.array_shape), path.name, wanted)
    return replace(arrays, reopen=partial(mapped_arrays, path, wanted))


def is_idx(name: str) -> bool:
    """Whether a file has a name like the idx files of MNIST's images."""
    return "idx3" in name and "images" in name


def named(names: Iterable[str], *words: str) -> str | None:
    """The first of the sorted names that contains one of the words."""
    return next((name for name in sorted(names) if any(word in name for word in words)), None)


def idx_files(path: Path) -> list[str]:
    """The idx files directly in a folder."""
    return [name for name in os.listdir(path) if is_idx(name) and (path / name).is_file()]  # noqa: PTH208 (may be many)


def open_idx_folder(path: Path, wanted: RecordFormat, log: SkipLog) -> Splits:
    """Open MNIST's files, `train...` and `t10k...`."""
    del log
    names = idx_files(path)
    train, test = named(names, "train"), named(names, "t10k", "test")
    assert train is not None
    return Splits(
        arrays_of(read_idx(path / train), train, wanted),
        None if test is None else arrays_of(read_idx(path / test), test, wanted),
    )


def open_idx(path: Path, wanted: RecordFormat, log: SkipLog) -> Splits:
    """Open one idx file."""
    del log
    return Splits(arrays_of(read_idx(path), path.name, wanted))


def open_npy(path: Path, wanted: RecordFormat, log: SkipLog) -> Splits:
    """Open an npy file."""
    del log
    return Splits(mapped_arrays(path, wanted))


def open_npz(path: Path, wanted: RecordFormat, log: SkipLog) -> Splits:
    """Open an npz file."""
    del log
    train, test = read_npz(path, wanted.array_shape)
    return Splits(
        arrays_of(train, path.name, wanted),
        None if test is None else arrays_of(test, for_tests(path.name), wanted),
    )


IDX_FOLDER = Source(
    about="a folder with MNIST's idx files",
    yields=ArrayRecord,
    claims=lambda path, _: path.is_dir() and named(idx_files(path), "train") is not None,
    open=open_idx_folder,
)
IDX_FILE = Source(
    about="an idx file",
    yields=ArrayRecord,
    claims=lambda _, start: start.startswith((b"\x00\x00\x08", b"\x1f\x8b")),
    open=open_idx,
)
NPY = Source(
    about="an .npy array",
    yields=ArrayRecord,
    claims=lambda _, start: start.startswith(b"\x93NUMPY"),
    open=open_npy,
    suffixes=lambda _: frozenset({".npy"}),
    plural="arrays",
)
NPZ = Source(
    about="an .npz file of arrays",
    yields=ArrayRecord,
    claims=lambda _, start: start.startswith(b"PK"),
    open=open_npz,
    suffixes=lambda _: frozenset({".npz"}),
    plural="arrays",
)

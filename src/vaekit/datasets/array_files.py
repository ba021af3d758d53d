"""Read arrays of files: MNIST's idx, and NumPy's npy and npz."""

import gzip
import math
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def read_npz(
    path: Path, expected: str, names: tuple[str, str | None] | None = None
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Read the training items of an npz file, and the test items if there are any.

    Args:
        path: the file.
        expected: a sentence for messages.
        names: of the arrays of training and test items; None looks for usual names.

    Raises:
        NoTrainingData: the file is damaged, or none of its arrays has a usual name.
    """
    try:
        with open_file(path) as opened, np.load(opened, allow_pickle=False) as file:
            train, test = names or item_names(file.files)
            if train is None:
                raise NoTrainingData(
                    f"{path} has arrays named {printable(', '.join(file.files)) or 'nothing'}.",
                    f"Expected one of {', '.join(KEYS)}.",
                    "Save the items under one of these names.",
                )
            refuse_beyond_memory(unpacked_size(file, train, test), path)
            return array_in(file, train, path, expected), (
                None if test is None else array_in(file, test, path, expected)
            )
    except UNREADABLE_ZIP as error:
        raise NoTrainingData(f"{path} cannot be read: {printable(str(error))}.", expected, "Save it again.") from error


def item_names(names: Sequence[str]) -> tuple[str | None, str | None]:
    """The names of the arrays of training and test items among those of an npz file."""
    known = {name.lower(): name for name in names}
    train = next((known[key] for key in KEYS if key in known), names[0] if len(names) == 1 else None)
    return train, next((known[key] for key in TEST_KEYS if key in known), None)


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

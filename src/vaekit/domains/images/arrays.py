"""Files that hold many small images as one array: MNIST's idx, and NumPy's npy and npz."""

import gzip
import math
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vaekit.domains.images.decode import Pixels
from vaekit.domains.images.folders import digest_of
from vaekit.errors import BadItem, NoTrainingData, printable

IDX = {8: np.uint8}
"""Types of numbers in idx files that are images."""
KEYS = ("x", "images", "x_train", "train_images", "train", "data", "arr_0")
"""What the array of images is called in npz files."""
TEST_KEYS = ("x_test", "test_images", "test", "x_val", "val_images")
"""And that of images to be held out."""
UNREADABLE_ZIP = (OSError, ValueError, EOFError, LookupError, MemoryError, RuntimeError, zlib.error, zipfile.BadZipFile)
"""What reading a damaged npz leads into. zipfile's RuntimeErrors are an encrypted one and one packed in a way that it
does not know."""
AT_ONCE = 2**24
"""Numbers that are looked through at once."""
EXPECTED = "Expected images as (n, h, w), (n, h, w, c) or (n, c, h, w) with 1, 3 or 4 channels."


@dataclass(frozen=True, eq=False)
class Arrays:
    """Images of one size."""

    values: NDArray[Any]
    """(n, h, w, c); in memory, or in a mapped file."""
    white: float | None
    """Values in between 0 and this become -1 to 1; None for floats in [-1, 1]."""
    file: str
    """Where they come from, for messages."""
    digest: str
    kind = "array"

    def __len__(self) -> int:
        return len(self.values)

    @property
    def in_memory(self) -> bool:
        """Whether reading them takes no disk."""
        return not isinstance(self.values, np.memmap)

    def name(self, item: int) -> str:
        return f"{self.file}[{item}]"

    def sides(self, item: int) -> tuple[int, int]:
        return self.values.shape[2], self.values.shape[1]

    def read(self, item: int, shortest: int | None) -> Pixels:
        values = np.asarray(self.values[item])
        if values.dtype == np.uint8:
            return Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)
        pixels = values.astype(np.float32)
        if not np.isfinite(pixels).all():
            raise BadItem(f"{self.name(item)} holds values that are not finite.", "", "")
        return pixels if self.white is None else np.asarray(pixels / np.float32(self.white / 2) - 1, np.float32)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array of an idx file, gzipped or not (the format of http://yann.lecun.com/exdb/mnist): (n, h, w), bytes.

    Raises:
        NoTrainingData: it is damaged, or something else.
    """
    try:
        with open(path, "rb") as packed:
            zipped = packed.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else open(path, "rb") as file:
            # The header first: whatever else may be packed there is not unpacked.
            zero, kind, axes = struct.unpack(">HBB", file.read(4))
            if zero or kind not in IDX:
                raise ValueError("its header is that of something else")
            shape = struct.unpack(f">{axes}I", file.read(4 * axes))
            raw = bytearray(file.read(math.prod(shape) + 1))
        if len(raw) != math.prod(shape):
            has = f"{len(raw):,}" if len(raw) < math.prod(shape) else "more"
            raise ValueError(f"it has {has} values and should have {math.prod(shape):,}")
        return np.frombuffer(raw, IDX[kind]).reshape(shape)
    except (OSError, EOFError, ValueError, OverflowError, MemoryError, zlib.error, struct.error) as error:
        raise NoTrainingData(
            f"{path} is no idx file with images ({str(error) or 'it claims to be huge'}).",
            "",
            "Copy it again, or unpack it if it holds other files.",
        ) from error


def read_npy(path: Path) -> NDArray[Any]:
    """The array of an npy file, mapped: nothing of it is read yet.

    Raises:
        NoTrainingData: it is damaged, or holds no plain numbers.
    """
    try:
        return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise NoTrainingData(f"{path} cannot be read: {printable(str(error))}.", EXPECTED, "") from error


def read_npz(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The images of an npz file, and those to be held out, if it has such.

    Raises:
        NoTrainingData: it is damaged, or none of its arrays is known to be images.
    """
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            names = {name.lower(): name for name in file.files}
            train = next((names[key] for key in KEYS if key in names), None)
            if train is None and len(names) == 1:
                train = file.files[0]
            if train is None:
                raise NoTrainingData(
                    f"{path} holds arrays named {printable(', '.join(file.files)) or 'nothing'}.",
                    f"Expected one named {', '.join(KEYS)}.",
                    "Save the images under one of these names.",
                )
            test = next((names[key] for key in TEST_KEYS if key in names), None)
            return array_in(file, train, path), None if test is None else array_in(file, test, path)
    except UNREADABLE_ZIP as error:
        raise NoTrainingData(f"{path} cannot be read: {printable(str(error))}.", EXPECTED, "Save it again.") from error


def array_in(file: Mapping[str, Any], name: str, path: Path) -> NDArray[Any]:
    """One array of an npz file.

    Raises:
        NoTrainingData: it is another file, which a zip may hold.
    """
    values = file[name]
    if not isinstance(values, np.ndarray):
        raise NoTrainingData(
            f"What {path} holds as {printable(name)} is no array.", EXPECTED, "Unpack it if it is a zip."
        )
    return values


def arrays_of(values: NDArray[Any], file: str) -> Arrays:
    """An array of images, in whatever order of axes and range of values.

    Bytes are 0 to 255, as are whole numbers that stay inside that range, and booleans are black or white. 16-bit
    numbers without a sign are 0 to 65535. Floats are in [0, 1] if none is below 0 and none above 1, in [-1, 1] if some
    are below 0, and 0 to 255 if some are above 1; the whole array decides, and what is not finite has no say.

    Raises:
        NoTrainingData: it has another shape, or values out of these ranges.
    """
    shown = f"{printable(file)} holds an array {tuple(values.shape)} of {values.dtype}"
    placed = channels_last(values)
    if placed is None or not len(placed):
        raise NoTrainingData(f"{shown}.", EXPECTED, "Reshape it.")
    digest = digest_of([(f"{file} {values.shape} {values.dtype.str}", values.nbytes)])
    if placed.dtype == np.bool_:
        return Arrays(placed.astype(np.uint8) * np.uint8(255), None, file, digest)
    if placed.dtype == np.uint8:
        return Arrays(placed, None, file, digest)
    if placed.dtype == np.uint16:
        return Arrays(placed, 65535.0, file, digest)
    low, high = span(placed) if placed.dtype.kind in "iuf" else (math.nan, math.nan)
    if placed.dtype.kind in "iu" and low >= 0 and high <= 255:
        return Arrays(placed, 255.0, file, digest)
    if placed.dtype.kind == "f" and low >= -1 and high <= (1 if low < 0 else 255):
        return Arrays(placed, None if low < 0 else 255.0 if high > 1 else 1.0, file, digest)
    raise NoTrainingData(
        f"{shown}, with values from {low:g} to {high:g}.",
        "Expected bytes, whole numbers from 0 to 255, or floats from 0 to 1, from -1 to 1, or from 0 to 255.",
        "Scale it.",
    )


def channels_last(values: NDArray[Any]) -> NDArray[Any] | None:
    """Images as (n, h, w, c), without a copy; None for what has another shape. Rows of s * s numbers are gray."""
    if values.ndim == 2 and math.isqrt(values.shape[1]) ** 2 == values.shape[1] > 0:
        side = math.isqrt(values.shape[1])
        return values.reshape(-1, side, side, 1)
    if values.ndim == 3:
        values = values[..., None]
    if values.ndim != 4 or 0 in values.shape[1:]:
        return None
    channels = [axis for axis in (3, 1) if values.shape[axis] in (1, 3, 4)]
    if not channels:
        return None
    return np.moveaxis(values, min(channels, key=lambda axis: values.shape[axis]), 3)


def span(values: NDArray[Any]) -> tuple[float, float]:
    """The smallest and the largest of the finite values; NaN where there are none."""
    low, high = math.inf, -math.inf
    for part in parts(values):
        finite = part[np.isfinite(part)] if part.dtype.kind == "f" else part
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return (low, high) if low <= high else (math.nan, math.nan)


def parts(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """All of an array, some items at a time."""
    step = max(1, AT_ONCE // max(1, math.prod(values.shape[1:])))
    for start in range(0, len(values), step):
        yield np.asarray(values[start : start + step])


def is_idx(name: str) -> bool:
    """Whether a file is called as an idx file of images is."""
    return "idx3" in name and "images" in name


def named(names: Iterable[str], *words: str) -> str | None:
    """The first of the names, sorted, with one of the words in it."""
    return next((name for name in sorted(names) if any(word in name for word in words)), None)

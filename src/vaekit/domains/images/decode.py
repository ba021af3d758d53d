"""Decode images for training: the values of `read_image`, without notes and metadata."""

import io
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import Base

from vaekit.datasets.dataset import ArrayRecord, BytesRecord, FileRecord, Record
from vaekit.domains.images.colors import bytes_and_alpha, colors_and_alpha, wide
from vaekit.domains.images.file_facts import without_warnings
from vaekit.domains.images.read import (
    DECODING,
    FIRST_SIDEWAYS,
    opened,
    orientation_of,
    raw_mode_of,
    refuse_beyond_free,
    refuse_non_files,
    refuse_size,
    unreadable,
    upright,
)
from vaekit.errors import BadItem, VaekitError
from vaekit.reading import open_file

Pixels = Image.Image | NDArray[np.float32]
"""An image of 8 bits a channel in mode L, RGB or RGBA, or floats (h, w, c) in [-1, 1]; the fourth channel is alpha."""
HEADER = 2**16
"""Bytes at the start of an image file that usually contain its header."""

Result = TypeVar("Result")


def pixels_of(record: Record, shortest: int | None = None) -> Pixels:
    """The image in a record, upright, in sRGB.

    Args:
        record: of a file, of the bytes of one, or of an array (h, w, c).
        shortest: the short side at which the image will be used at most; see `decoded_file`.

    Raises:
        BadItem, NotFound: it cannot be read.
    """
    match record:
        case FileRecord(path):
            return decoded_file(path, shortest)
        case BytesRecord():
            return decoded_bytes(record.content(), record.name, shortest)
        case ArrayRecord():
            return pixels_of_array(record)
    raise not_an_image(record)


def upright_size_of(record: Record) -> tuple[int, int]:
    """Rows and columns of the upright image in a record, read from its header.

    Of a PNG file, an orientation that is stored behind the pixels is not found.

    Raises:
        BadItem, NotFound: it cannot be read.
    """
    match record:
        case FileRecord(path):
            return _in_file(path, _upright_size)
        case BytesRecord():
            return _in_start(record.start, record.size, record.name, _upright_size)
        case ArrayRecord():
            return record.values.shape[0], record.values.shape[1]
    raise not_an_image(record)


def sides_of(record: Record) -> tuple[int, int]:
    """The sides of the image in a record, in pixels, in either order, read from its header.

    Raises:
        BadItem, NotFound: it cannot be read.
    """
    match record:
        case FileRecord(path):
            return sides_of_file(path)
        case BytesRecord():
            return sides_of_start(record.start, record.size, record.name)
        case ArrayRecord():
            return record.values.shape[1], record.values.shape[0]
    raise not_an_image(record)


def not_an_image(record: Record) -> BadItem:
    """The error for a record of another kind of data."""
    return BadItem(f"A {type(record).__name__} holds no image.", "", "Name data that holds images.")


def pixels_of_array(record: ArrayRecord) -> Pixels:
    """An item (h, w, c) of an array.

    Raises:
        BadItem: it has values that are not finite.
    """
    values = record.values
    if values.dtype == np.uint8:
        return Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)
    pixels = values.astype(np.float32)
    if not np.isfinite(pixels).all():
        raise BadItem(f"{record.name} holds values that are not finite.", "", "")
    white = record.full_scale
    return pixels if white is None else np.asarray(pixels / np.float32(white / 2) - 1, np.float32)


def decoded_file(path: Path, shortest: int | None = None) -> Pixels:
    """An image file, upright, in sRGB.

    Args:
        path: the file.
        shortest: the largest short side that is needed, in pixels. A much larger JPEG is decoded at a half, a quarter
            or an eighth of its size, with at least twice this short side. None decodes all of it, exactly as
            `read_image` does.

    Raises:
        NotFound, BadItem: as `read_image` does.
    """
    return _in_file(path, partial(_decoded, path=path, shortest=shortest))


def decoded_bytes(content: bytes, name: str, shortest: int | None = None) -> Pixels:
    """The same for the content of a file; the name is for messages."""
    return _in(io.BytesIO(content), Path(name), partial(_decoded, path=Path(name), shortest=shortest))


def sides_of_file(path: Path) -> tuple[int, int]:
    """The sides of an image in pixels, from its header: width and height, or height and width if EXIF rotates it.

    Raises:
        NotFound, BadItem: as `read_image` does for a file without such a header.
    """
    return _in_file(path, _sides)


def sides_of_start(start: Callable[[int], bytes], size: int, name: str) -> tuple[int, int]:
    """The same for an image inside a larger file.

    Args:
        start: returns the first n bytes of the image.
        size: its size in bytes; all are read where the first do not suffice.
        name: for messages.
    """
    return _in_start(start, size, name, _sides)


def _in_start(start: Callable[[int], bytes], size: int, name: str, use: Callable[[Image.Image], Result]) -> Result:
    """Apply a function that needs the header only to the opened image inside a larger file."""
    if size > HEADER:
        with suppress(BadItem):
            return _in(io.BytesIO(start(HEADER)), Path(name), use)
    return _in(io.BytesIO(start(size)), Path(name), use)


def _in_file(path: Path, use: Callable[[Image.Image], Result]) -> Result:
    """Apply a function to the opened image of a file."""
    refuse_non_files(path)
    try:
        with open_file(path) as file:
            return _in(file, path, use)
    except OSError as error:
        raise unreadable(path, error) from error


def _in(file: io.BufferedReader | io.BytesIO, path: Path, use: Callable[[Image.Image], Result]) -> Result:
    """Apply a function to an opened image, whose header was read."""
    try:
        with opened(file) as image:
            refuse_size(path, *image.size)
            return use(image)
    except VaekitError:
        raise
    except Exception as error:  # on hostile bytes Pillow raises nearly everything
        raise unreadable(path, error) from error


def _upright_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    if image.format == "TIFF":  # some versions of Pillow exchange the sides themselves
        with without_warnings():
            tags = image.getexif()
        width, height = int(tags.get(Base.ImageWidth, width)), int(tags.get(Base.ImageLength, height))
    # Looking for the orientation of another PNG would decode it.
    stated = image.format != "PNG" or not {"exif", "Raw profile type exif"}.isdisjoint(image.info)
    sideways = stated and orientation_of(image) >= FIRST_SIDEWAYS
    return (width, height) if sideways else (height, width)


def _sides(image: Image.Image) -> tuple[int, int]:
    return image.size


def _decoded(image: Image.Image, path: Path, shortest: int | None) -> Pixels:
    if shortest is not None and image.format == "JPEG":
        image.draft(None, (2 * shortest, 2 * shortest))
    refuse_beyond_free(path, *image.size, DECODING)
    return colors(image)


def colors(image: Image.Image) -> Pixels:
    """The pixels of an opened image, upright, in sRGB."""
    raw_mode = raw_mode_of(image)
    turned, _ = upright(image, [])
    if wide(turned) and not turned.info.get("icc_profile"):
        shades, opacity = colors_and_alpha(turned, raw_mode, [])
        planes = [shades[0, :1].numpy()] if opacity is None else [shades[0].numpy(), opacity[0].numpy() * 2 - 1]
        return np.ascontiguousarray(np.concatenate(planes).transpose(1, 2, 0))
    plain, alpha = bytes_and_alpha(turned, raw_mode, [])
    if alpha is not None:
        plain.putalpha(Image.fromarray(alpha[0, 0].mul(255).round().byte().numpy()))
    return plain

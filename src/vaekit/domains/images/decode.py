"""Images decoded for training: the values that `read_image` gives, without what training has no use for."""

import io
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vaekit.domains.images.colors import bytes_and_alpha, colors_and_alpha, wide
from vaekit.domains.images.read import opened, raw_mode_of, refuse_non_files, refuse_size, unreadable, upright
from vaekit.errors import BadItem, VaekitError

Pixels = Image.Image | NDArray[np.float32]
"""An image of 8 bits a channel in mode L, RGB or RGBA, or floats (h, w, c) in [-1, 1]; the fourth channel is alpha."""
HEADER = 2**16
"""Bytes at the beginning of an image that nearly always hold its header."""

Seen = TypeVar("Seen")


def decoded_file(path: Path, shortest: int | None = None) -> Pixels:
    """An image file, upright, in sRGB.

    Args:
        path: the file.
        shortest: nobody will look at it with a short side longer than this; a JPEG that is larger by far is decoded at
            a half, a quarter or an eighth of its size, at least twice this. None decodes all of it, and gives exactly
            the values of `read_image`.

    Raises:
        NotFound, BadItem: as `read_image` does.
    """
    return _in_file(path, partial(_decoded, shortest=shortest))


def decoded_bytes(content: bytes, name: str, shortest: int | None = None) -> Pixels:
    """The same for the content of a file that has this name for messages."""
    return _in(io.BytesIO(content), Path(name), partial(_decoded, shortest=shortest))


def sides_of_file(path: Path) -> tuple[int, int]:
    """The sides of an image in pixels, as its header tells them: width and height, or the other way round where it
    is stored on its side.

    Raises:
        NotFound, BadItem: as `read_image` does for what has no such header.
    """
    return _in_file(path, _sides)


def sides_of_start(start: Callable[[int], bytes], size: int, name: str) -> tuple[int, int]:
    """The same for what is in a larger file.

    Args:
        start: gives so many bytes of the image's beginning.
        size: bytes of all of it; they are asked for where the beginning does not do.
        name: for messages.
    """
    if size > HEADER:
        with suppress(BadItem):
            return _in(io.BytesIO(start(HEADER)), Path(name), _sides)
    return _in(io.BytesIO(start(size)), Path(name), _sides)


def _in_file(path: Path, see: Callable[[Image.Image], Seen]) -> Seen:
    """What is seen in an image file."""
    refuse_non_files(path)
    try:
        with path.open("rb") as file:
            return _in(file, path, see)
    except OSError as error:
        raise unreadable(path, error) from error


def _in(file: io.BufferedReader | io.BytesIO, path: Path, see: Callable[[Image.Image], Seen]) -> Seen:
    """What is seen in an image whose header was read."""
    try:
        with opened(file) as image:
            refuse_size(path, *image.size)
            return see(image)
    except VaekitError:
        raise
    except Exception as error:  # on hostile bytes Pillow raises nearly everything
        raise unreadable(path, error) from error


def _sides(image: Image.Image) -> tuple[int, int]:
    return image.size


def _decoded(image: Image.Image, shortest: int | None) -> Pixels:
    if shortest is not None and image.format == "JPEG":
        image.draft(None, (2 * shortest, 2 * shortest))
    return colors(image)


def colors(image: Image.Image) -> Pixels:
    """What an opened image shows."""
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

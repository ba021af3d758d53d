"""Pictures decoded for training: the values that `read_picture` gives, without what training has no use for."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vaekit.domains.images.colours import bytes_and_alpha, colours_and_alpha, wide
from vaekit.domains.images.reading import opened, raw_mode_of, refuse_non_files, refuse_size, unreadable, upright
from vaekit.errors import VaekitError

Pixels = Image.Image | NDArray[np.float32]
"""A picture of 8 bits a channel in mode L, RGB or RGBA, or floats (h, w, c) in [-1, 1]; the fourth channel is alpha."""


def decoded_file(path: Path, shortest: int | None = None) -> Pixels:
    """A picture file, upright, in sRGB.

    Args:
        path: the file.
        shortest: nobody will look at it with a short side longer than this; a JPEG that is larger by far is decoded at
            a half, a quarter or an eighth of its size, at least twice this. None decodes all of it, and gives exactly
            the values of `read_picture`.

    Raises:
        NotFound, BadPicture: as `read_picture` does.
    """
    refuse_non_files(path)
    try:
        with path.open("rb") as file:
            return decoded(file, path, shortest)
    except OSError as error:
        raise unreadable(path, error) from error


def decoded_bytes(content: bytes, name: str, shortest: int | None = None) -> Pixels:
    """The same for the content of a file that has this name for messages."""
    return decoded(io.BytesIO(content), Path(name), shortest)


def decoded(file: io.BufferedReader | io.BytesIO, path: Path, shortest: int | None) -> Pixels:
    """The same for an open file."""
    try:
        with opened(file) as image:
            refuse_size(path, *image.size)
            if shortest is not None and image.format == "JPEG":
                image.draft(None, (2 * shortest, 2 * shortest))
            return colours(image)
    except VaekitError:
        raise
    except Exception as error:  # on hostile bytes Pillow raises nearly everything
        raise unreadable(path, error) from error


def colours(image: Image.Image) -> Pixels:
    """What an opened picture shows."""
    raw_mode = raw_mode_of(image)
    turned, _ = upright(image, [])
    if wide(turned) and not turned.info.get("icc_profile"):
        shades, opacity = colours_and_alpha(turned, raw_mode, [])
        planes = [shades[0, :1].numpy()] if opacity is None else [shades[0].numpy(), opacity[0].numpy() * 2 - 1]
        return np.ascontiguousarray(np.concatenate(planes).transpose(1, 2, 0))
    plain, alpha = bytes_and_alpha(turned, raw_mode, [])
    if alpha is not None:
        plain.putalpha(Image.fromarray(alpha[0, 0].mul(255).round().byte().numpy()))
    return plain

"""Images in requests and answers."""

import io

import numpy as np
from PIL import Image

from vaekit.domains.images.read import LoadedImage, opened, read_image_bytes
from vaekit.domains.images.write import SAVE_OPTIONS, to_bytes
from vaekit.errors import BadItem
from vaekit.metrics.image.color import as_rgb
from vaekit.serve.refusals import TOO_LARGE, Refusal
from vaekit.shapes import Images

FORMATS = ("PNG", "JPEG", "WEBP")
"""The accepted ones, by Pillow's names: those whose decoders are fuzzed most, and without frames of other formats."""
MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp")
PNG, JPEG = "png", "jpg"
ENCODERS = {PNG: ("PNG", "image/png"), JPEG: ("JPEG", "image/jpeg")}
"""Pillow's name and the media type of each format of answers."""
NAME = "The image"
"""In messages."""
MONO, COLOR = 1, 3


def image_size(content: bytearray) -> tuple[int, int]:
    """Rows and columns in the header of an image; no pixel is decoded.

    Raises:
        BadItem: it is not an image of an accepted format.
    """
    try:
        with io.BytesIO(content) as file, opened(file, FORMATS) as image:
            width, height = image.size
    except Exception as error:  # on hostile bytes Pillow raises nearly everything
        raise BadItem(
            f"{NAME} is of no accepted format, or damaged.", f"Expected one of {', '.join(FORMATS)}.", ""
        ) from error
    return height, width


def image_of(content: bytearray) -> LoadedImage:
    """Read an image, upright and in sRGB.

    Raises:
        BadItem: it is damaged, or of another format.
    """
    return read_image_bytes(io.BytesIO(content), NAME, FORMATS)


def check_pixels(height: int, width: int, most: int) -> None:
    """Check the size of an image before memory for it is allocated.

    Raises:
        Refusal: it has no pixels, or more than `most`.
    """
    if not 0 < height * width <= most:
        raise Refusal(
            TOO_LARGE,
            "too_large",
            f"The image has {width:,} x {height:,} pixels; this server takes up to {most:,}.",
        )


def image_bytes(pixels: Images, file_format: str) -> tuple[bytes, str]:
    """An image (1, c, h, w) in [-1, 1] as a file, and its media type. PNG keeps channels; JPEG is laid over white.

    Raises:
        BadItem: some values are NaN or infinite.
    """
    encoder, media_type = ENCODERS[file_format]
    levels = to_bytes(as_rgb(pixels) if file_format == JPEG and pixels.shape[1] > COLOR else pixels)
    file = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(levels[..., 0]) if levels.shape[-1] == MONO else levels)
    image.save(file, encoder, **SAVE_OPTIONS[encoder])
    return file.getvalue(), media_type

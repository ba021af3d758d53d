"""Embed images in a page as `data:` URLs."""

import base64
import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vaekit.domains.images.write import to_bytes
from vaekit.report.crops import Levels

LONGEST = 1600
"""The maximum side of an embedded image in pixels; larger ones are reduced, except for their crops."""
SMALL = 480
"""The longer side in pixels up to which an image is embedded losslessly."""
LONGEST_THUMBNAIL = 144
LONGEST_MAP = 384
"""The maximum side of a difference map in pixels: for an image of 768x512, one pixel covers 2x2."""
QUALITY = 90
NOT_A_NUMBER = (255, 0, 255)
"""The color of NaN pixels: a magenta that photographs do not contain."""


@dataclass(frozen=True)
class Embedded:
    """An image embedded in the page."""

    url: str
    """`data:image/webp;base64,...`"""
    width: int
    height: int


def levels_of(pixels: Tensor) -> tuple[Levels, int]:
    """Convert an image (1, 3, h, w) in [-1, 1] to 8-bit levels; also returns the number of NaN pixels.

    These are shown in magenta; infinite values are clipped.
    """
    broken = pixels.isnan().any(dim=1)[0]
    levels = to_bytes(torch.nan_to_num(pixels.detach(), nan=0.0, posinf=1.0, neginf=-1.0))
    count = int(broken.sum())
    if count:
        levels[broken.cpu().numpy()] = NOT_A_NUMBER
    return levels, count


def photograph(levels: Levels, longest: int = LONGEST) -> Embedded:
    """Embed a whole image as lossy WebP, reduced if it is larger than `longest`.

    A small one is lossless: it is shown enlarged, where lossy artifacts would be visible.
    """
    if max(levels.shape[:2]) <= SMALL:
        return exact(levels)
    return _embedded(_reduced(Image.fromarray(levels), longest), quality=QUALITY)


def thumbnail(levels: Levels) -> Embedded:
    """Embed a thumbnail."""
    return _embedded(_reduced(Image.fromarray(levels), LONGEST_THUMBNAIL), quality=75)


def exact(levels: Levels) -> Embedded:
    """Embed an image as lossless WebP."""
    return _embedded(Image.fromarray(np.ascontiguousarray(levels)), lossless=True)


@dataclass(frozen=True)
class Differences:
    """A map of signed differences per channel: 128 is no difference, 129 one level brighter."""

    embedded: Embedded
    block: int
    """The side in pixels of the block that each point averages."""
    typical: float
    """The 90th percentile of the absolute differences, in levels."""


def differences(original: Levels, levels: Levels) -> Differences:
    """Reconstruction minus original, averaged over blocks, rounded to levels and clipped to +-127."""
    block = max(1, math.ceil(max(original.shape[:2]) / LONGEST_MAP))
    means = _block_means(levels.astype(np.int16) - original, block)
    coded = (128 + np.clip(np.rint(means), -127, 127)).astype(np.uint8)
    return Differences(exact(coded), block, float(np.quantile(np.abs(means), 0.9)))


def _block_means(values: NDArray[np.int16], block: int) -> NDArray[np.float64]:
    """Means over square blocks of (h, w, c); those at the right and the bottom may be smaller."""
    height, width = values.shape[:2]
    rows, columns = np.arange(0, height, block), np.arange(0, width, block)
    sums = np.add.reduceat(np.add.reduceat(values.astype(np.int64), rows, axis=0), columns, axis=1)
    counts = np.outer(np.diff([*rows, height]), np.diff([*columns, width]))
    return np.asarray(sums / counts[..., None])


def _reduced(image: Image.Image, longest: int) -> Image.Image:
    scale = longest / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _embedded(image: Image.Image, **options: Any) -> Embedded:
    file = io.BytesIO()
    image.save(file, format="WEBP", **options)
    text = base64.b64encode(file.getbuffer()).decode("ascii")
    return Embedded(f"data:image/webp;base64,{text}", image.width, image.height)

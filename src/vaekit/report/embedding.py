"""Images inside a page: as `data:` addresses."""

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
"""Pixels. A larger image is embedded reduced, but for its crops."""
SMALL = 480
"""Pixels of an image's longer side up to which it is embedded exactly."""
LONGEST_THUMBNAIL = 144
LONGEST_MAP = 384
"""Pixels of a map of differences: one stands for 2 x 2 of an image of 768 x 512."""
QUALITY = 90
NOT_A_NUMBER = (255, 0, 255)
"""The level of pixels that are NaN: a magenta that no photograph has."""


@dataclass(frozen=True)
class Embedded:
    """An image in the page."""

    address: str
    """`data:image/webp;base64,...`"""
    width: int
    height: int


def levels_of(pixels: Tensor) -> tuple[Levels, int]:
    """An image (1, 3, h, w) in [-1, 1] in 8-bit levels, and how many of its pixels are not numbers.

    Those are shown in magenta; an infinite value is the level at its end.
    """
    broken = pixels.isnan().any(dim=1)[0]
    levels = to_bytes(torch.nan_to_num(pixels.detach(), nan=0.0, posinf=1.0, neginf=-1.0))
    count = int(broken.sum())
    if count:
        levels[broken.cpu().numpy()] = NOT_A_NUMBER
    return levels, count


def photograph(levels: Levels, longest: int = LONGEST) -> Embedded:
    """The image for looking at as a whole: lossy WebP, reduced where it is larger than `longest`.

    A small one is exact: it is shown enlarged, and there one would see what the lossy copy made of it.
    """
    if max(levels.shape[:2]) <= SMALL:
        return exact(levels)
    return _embedded(_reduced(Image.fromarray(levels), longest), quality=QUALITY)


def thumbnail(levels: Levels) -> Embedded:
    """The image, very small."""
    return _embedded(_reduced(Image.fromarray(levels), LONGEST_THUMBNAIL), quality=75)


def exact(levels: Levels) -> Embedded:
    """Each pixel as it is: lossless WebP."""
    return _embedded(Image.fromarray(np.ascontiguousarray(levels)), lossless=True)


@dataclass(frozen=True)
class Differences:
    """A map of signed differences in an image's channels: level 128 is none, 129 one level brighter."""

    embedded: Embedded
    block: int
    """Each dot is the mean over so many pixels a side."""
    typical: float
    """90 % of the dots' differences are smaller, in levels."""


def differences(original: Levels, levels: Levels) -> Differences:
    """Reconstruction minus original, in means over blocks, rounded to whole levels and cut at +-127."""
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

"""Bring images to sizes of about the same area, with aspect ratios near their own: buckets (NovelAI 2022)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaekit.datasets.dataset import Record
from vaekit.domains.fitting import Crop, FitOptions, Fitted, Size
from vaekit.domains.images.decode import Pixels, pixels_of, upright_size_of
from vaekit.domains.images.preparation import Preparation, composited, extent, put, resized_to
from vaekit.errors import BadPlan, printable
from vaekit.geometry import Geometry, size_text

STEP = 64
"""The largest default step of sides, as in kohya's trainers."""
STEPS = 8
"""The default step is at most the side of the square divided by this."""
MOST_ASPECT = 2.0
"""The largest ratio of the sides of a bucket."""
LARGEST_SIDE = 2**16
CROPS = ("center", "whole")


@dataclass(frozen=True)
class ImageBuckets:
    """Buckets of images."""

    preparation: Preparation
    """Channels, background and exposure; sizes and crops are those of the buckets."""
    sizes: tuple[tuple[int, int], ...]
    """Rows and columns of each bucket."""
    crop: str = "center"
    mirrors: bool = True

    def size(self, record: Record) -> Size:
        return upright_size_of(record)

    def bucket(self, size: Size) -> Size:
        """The bucket whose aspect ratio is nearest; of equal ones the largest."""
        aspect = math.log(size[1] / size[0])
        return min(self.sizes, key=lambda each: (abs(math.log(each[1] / each[0]) - aspect), -each[0] * each[1]))

    def fit(self, records: Sequence[Record], bucket: Size) -> Fitted:
        rows, columns = bucket
        x = torch.empty(len(records), rows, columns, self.preparation.channels)
        sizes: list[Size] = []
        crops: list[Crop | None] = []
        for out, record in zip(x, records, strict=True):
            size = upright_size_of(record)
            pixels = pixels_of(record, self._shortest(size, bucket))
            if is_transposed(pixels, size):
                size = (size[1], size[0])
            put(self._cut(composited(pixels, self.preparation), bucket), out.numpy())
            sizes.append(size)
            crops.append(self._box(size, bucket))
        return Fitted(self.preparation.exposing.apply(x.permute(0, 3, 1, 2)), sizes, crops)

    def mirrored(self, x: Tensor) -> Tensor:
        return x.flip(-1)

    def as_plain(self) -> Mapping[str, Any]:
        made = asdict(self.preparation)
        kept = {name: made[name] for name in ("channels", "background", "exposure")}
        return {**kept, "crop": self.crop, "buckets": [list(size) for size in self.sizes]}

    def _box(self, size: Size, bucket: Size) -> Crop:
        """The part of an image of a size that becomes a bucket."""
        return box_of(size, bucket) if self.crop == "center" else (0, 0, size[1], size[0])

    def _cut(self, pixels: Pixels, bucket: Size) -> NDArray[Any]:
        """The part of an image in the size of a bucket, (rows, columns, c)."""
        width, height = extent(pixels)
        left, top, right, bottom = self._box((height, width), bucket)
        if isinstance(pixels, np.ndarray):
            part = pixels[top:bottom, left:right]
        else:
            part = np.array(pixels.crop((left, top, right, bottom)))
        part = part[..., None] if part.ndim == 2 else part
        return part if part.shape[:2] == bucket else resized_to(part, (bucket[0], bucket[1]))

    def _shortest(self, size: Size, bucket: Size) -> int:
        """The short side at which an image of a size is used."""
        left, top, right, bottom = self._box(size, bucket)
        scale = max(bucket[0] / (bottom - top), bucket[1] / (right - left))
        return math.ceil(min(size) * scale)


def is_transposed(pixels: Pixels, size: Size) -> bool:
    """Whether an image turned out to be rotated sideways, which not every header states."""
    width, height = extent(pixels)
    return (height - width) * (size[0] - size[1]) < 0


def box_of(size: Size, bucket: Size) -> Crop:
    """The largest box in the middle of an image with the aspect ratio of a bucket.

    >>> box_of((100, 300), (64, 128))
    (50, 0, 250, 100)
    """
    height, width = size
    scale = max(bucket[0] / height, bucket[1] / width)
    rows, columns = (max(1, min(most, round(side / scale))) for side, most in zip(bucket, size, strict=True))
    left, top = (width - columns) // 2, (height - rows) // 2
    return left, top, left + columns, top + rows


def image_buckets(preparation: Preparation, geometry: Geometry, options: FitOptions) -> ImageBuckets:
    """The buckets for a VAE.

    Args:
        preparation: of its images; their default size.
        geometry: of the VAE.
        options: the sizes.

    Raises:
        BadPlan: the VAE cannot take these sizes.
    """
    crop = options.crop or "center"
    if crop not in CROPS:
        raise BadPlan(f"There is no crop {printable(crop)!r}.", f"Expected one of {', '.join(CROPS)}.", "")
    if geometry.size is not None:
        only = (geometry.size[0], geometry.size[1])
        if options.buckets or options.size not in (None, *only):
            raise BadPlan(
                "Other sizes are requested than the VAE takes.",
                f"This VAE takes images of {size_text(only)} pixels only.",
                "Omit --size and --buckets.",
            )
        return ImageBuckets(preparation, (only,), crop)
    factors = (geometry.factors[0], geometry.factors[1])
    least = math.lcm(*factors) * geometry.least_positions
    size = preparation.size if options.size is None else options.size
    if not least <= size <= LARGEST_SIDE:
        raise BadPlan(
            f"Images of {size} pixels are requested.",
            f"Expected {least} to {LARGEST_SIDE} pixels for this VAE.",
            "Choose another --size.",
        )
    step = default_step(size, math.lcm(*factors)) if options.buckets is None else options.buckets
    if step == 0:
        side = size // math.lcm(*factors) * math.lcm(*factors)
        return ImageBuckets(preparation, ((side, side),), crop)
    if step < 0 or step > size or any(step % factor for factor in factors):
        raise BadPlan(
            f"Buckets with sides that are multiples of {step} are requested.",
            f"Expected a multiple of {geometry.factor_text}, as the VAE takes, and at most the size, {size}.",
            f"Choose another --buckets, such as {default_step(size, math.lcm(*factors))}, or 0 for squares.",
        )
    return ImageBuckets(preparation, bucket_sizes(size, step, least), crop)


def default_step(size: int, factor: int) -> int:
    """The step of sides that is used if none is chosen.

    >>> default_step(512, 8), default_step(128, 8), default_step(32, 4), default_step(512, 48)
    (64, 16, 4, 48)
    """
    return max(factor, min(STEP, size // STEPS) // factor * factor)


def bucket_sizes(size: int, step: int, least: int = 1) -> tuple[tuple[int, int], ...]:
    """Rows and columns of all buckets: multiples of `step` with an area of at most `size` squared, in which neither
    side can be longer, and of aspect ratios up to `MOST_ASPECT`.

    >>> bucket_sizes(64, 16)
    ((48, 80), (64, 64), (80, 48))
    """
    found = set()
    square = max(size // step * step, step)
    for first in range(max(step, -(-least // step) * step), size * 2 + 1, step):
        second = size**2 // first // step * step
        if second >= max(step, least) and max(first, second) <= MOST_ASPECT * min(first, second):
            found |= {(first, second), (second, first)}
    return tuple(sorted(found | {(square, square)}))

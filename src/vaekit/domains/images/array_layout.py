"""Arrays that hold many small images: which axis is which, and which values are black and white."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaekit.errors import NoTrainingData, printable

AT_ONCE = 2**24
"""Values that are examined at once."""
EXPECTED = "Expected images as (n, h, w), (n, h, w, c) or (n, c, h, w) with 1, 3 or 4 channels."


def arranged(values: NDArray[Any], file: str) -> tuple[NDArray[Any], float | None]:
    """An array of images with any order of axes and range of values -> (n, h, w, c), and the value of white.

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
    if placed.dtype == np.bool_:
        return placed.astype(np.uint8) * np.uint8(255), None
    if placed.dtype == np.uint8:
        return placed, None
    if placed.dtype == np.uint16:
        return placed, 65535.0
    low, high = span(placed) if placed.dtype.kind in "iuf" else (math.nan, math.nan)
    if placed.dtype.kind in "iu" and low >= 0 and high <= 255:
        return placed, 255.0
    if placed.dtype.kind == "f" and low >= -1 and high <= (1 if low < 0 else 255):
        return placed, None if low < 0 else 255.0 if high > 1 else 1.0
    raise NoTrainingData(
        f"{shown}, with values from {low:g} to {high:g}.",
        "Expected bytes, whole numbers from 0 to 255, or floats from 0 to 1, from -1 to 1, or from 0 to 255.",
        "Scale it.",
    )


def channels_last(values: NDArray[Any]) -> NDArray[Any] | None:
    """Images as (n, h, w, c), without a copy; None for what has another shape. Rows of s * s values are gray."""
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

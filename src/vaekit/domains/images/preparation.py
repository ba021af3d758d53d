"""What is done to a picture before a VAE is trained on it: brought to a size, cut, mirrored, put on a background."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageColor
from torch import Generator, Tensor

from vaekit.domains.images.crops import busyness
from vaekit.domains.images.decoding import Pixels
from vaekit.errors import BadRecipe, legible
from vaekit.metrics.luma import LUMA
from vaekit.words import record

FILTER = Image.Resampling.BICUBIC
"""The one that pictures are evaluated with."""
REDUCING_GAP = 3.0
"""Larger pictures than this many times the wanted size are first averaged by a whole number (Pillow's reducing_gap):
the difference is not visible."""
CROPS = ("random", "centre", "busier")
BINARY = ("", "dynamic", "static")
COLOURS = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's name for pictures of so many channels."""


@dataclass(frozen=True)
class Preparation:
    """The table [pictures] of a recipe."""

    size: int
    """Side of the square that the VAE sees."""
    channels: int = 3
    """1: luma; 3: RGB; 4: RGB and opacity, -1 for what is seen through."""
    resize: tuple[int, ...] = ()
    """Short sides, antialiased, before the square is cut out. One; or two, and any length between them, each octave
    as often as the next; or more, and one of them. Empty: `size`, so that all of the short side is seen. 0 stands for
    the picture's own. Pictures are not enlarged, unless they are smaller than `size`."""
    crop: str = "random"
    """Where the square is cut: "random"; "centre"; "busier", of two random places the one with more in it."""
    flip: bool = False
    """Half of the pictures are mirrored."""
    background: str = "white"
    """What see-through pictures are put on, where the VAE has no channel for opacity: a name or #rrggbb."""
    binary: str = ""
    """"dynamic": every value becomes -1 or 1, by chance, anew each time that it is seen; "static": once for all;
    empty: values stay."""
    held_out: float | None = None
    """Pictures that are never trained on, but looked at while training goes on: how many, or below 1 which share.
    Nothing: one in twenty, and no more than 256. Data with a part for tests have this number of it, or 256."""

    @property
    def varied(self) -> bool:
        """Whether a square picture is not always cut and resized in the same way."""
        return self.resize not in ((), (self.size,))


def preparation_from(table: Mapping[str, Any]) -> Preparation:
    """Read the table.

    Raises:
        BadRecipe: a value is missing, unknown, of another type, or out of range.
    """
    try:
        made = record(Preparation, table)
        ImageColor.getrgb(made.background)
        for right, why in (
            (1 <= made.size <= 65536, "size is from 1 to 65536"),
            (made.channels in COLOURS, "channels is 1, 3 or 4"),
            (made.crop in CROPS, f"crop is one of {', '.join(CROPS)}"),
            (made.binary in BINARY, "binary is dynamic, static or empty"),
            (all(side == 0 or side >= made.size for side in made.resize), f"resize is 0 or at least {made.size}"),
            (made.held_out is None or made.held_out >= 0, "held_out is a number or a share"),
        ):
            if not right:
                raise ValueError(why)
    except ValueError as error:
        raise BadRecipe(f"In [pictures], {legible(str(error), 300)}.", "", "See docs/training.md.") from error
    return made


def short_side(preparation: Preparation, random: Random) -> int:
    """The length that a picture is to be brought to this time; 0 for its own."""
    lengths = preparation.resize or (preparation.size,)
    if len(lengths) == 2 and all(lengths):
        low, high = math.log(lengths[0]), math.log(lengths[1])
        return round(math.exp(low + (high - low) * random.random()))
    return lengths[int(random.random() * len(lengths))]


def too_small(pixels: Pixels, size: int) -> bool:
    """Whether it has to be enlarged."""
    return min(extent(pixels)) < size


def extent(pixels: Pixels) -> tuple[int, int]:
    """Width and height."""
    return pixels.size if isinstance(pixels, Image.Image) else (pixels.shape[1], pixels.shape[0])


def cut(pixels: Pixels, preparation: Preparation, target: int, random: Random) -> NDArray[Any]:
    """The square that the VAE sees, (size, size, c), bytes or floats in [-1, 1], c 1, 3 or 4.

    Only what is cut out is resized: a picture of 1 x 10,000 pixels takes no more memory than another.

    Args:
        pixels: the picture.
        preparation: what to do.
        target: the short side to bring it to, 0 for its own.
        random: where the places come from.
    """
    shown = on_background(pixels, preparation)
    short, size = min(extent(shown)), preparation.size
    scale = max(min(target or short, short), size) / short
    wide, high = (max(size, round(side * scale)) for side in extent(shown))

    def piece() -> NDArray[Any]:
        left, top = (
            room // 2 if preparation.crop == "centre" else int(random.random() * (room + 1))
            for room in (wide - size, high - size)
        )
        return resized(shown, (left, top, left + size, top + size), (wide, high))

    if preparation.crop == "busier" and (wide, high) != (size, size):
        found = max(piece(), piece(), key=busyness)
    else:
        found = piece()
    return found[:, ::-1] if preparation.flip and random.random() < 0.5 else found


def resized(pixels: Pixels, box: tuple[int, int, int, int], whole: tuple[int, int]) -> NDArray[Any]:
    """The part of a picture that is inside `box` (left, top, right, bottom) once all of it is resized to `whole`."""
    left, top, right, bottom = box
    if isinstance(pixels, np.ndarray):
        if whole == extent(pixels):
            return pixels[top:bottom, left:right]
        planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in pixels.transpose(2, 0, 1)]
        parts = [resized(plane, box, whole)[..., 0] for plane in planes]
        return np.stack(parts, axis=-1).clip(-1, 1)
    if whole == pixels.size:
        part = pixels.crop(box)
    else:
        across, down = pixels.width / whole[0], pixels.height / whole[1]
        place = (left * across, top * down, min(right * across, pixels.width), min(bottom * down, pixels.height))
        part = pixels.resize((right - left, bottom - top), FILTER, place, REDUCING_GAP)
    values = np.asarray(part)
    return values[..., None] if values.ndim == 2 else values


def on_background(pixels: Pixels, preparation: Preparation) -> Pixels:
    """Without opacity where the VAE has no channel for it, with it where it has."""
    opaque = preparation.channels != 4
    if isinstance(pixels, np.ndarray):
        return _floats_on_background(pixels, preparation.background) if opaque else _with_opacity(pixels)
    if not opaque:
        return pixels if pixels.mode == "RGBA" else pixels.convert("RGBA")
    if pixels.mode != "RGBA":
        return pixels
    ground = Image.new("RGBA", pixels.size, (*ImageColor.getrgb(preparation.background)[:3], 255))
    return Image.alpha_composite(ground, pixels).convert("RGB")


def _floats_on_background(pixels: NDArray[np.float32], background: str) -> NDArray[np.float32]:
    if pixels.shape[2] != 4:
        return pixels
    opacity = (pixels[..., 3:] + 1) / 2
    ground = np.array(ImageColor.getrgb(background)[:3], np.float32) / np.float32(127.5) - 1
    return np.asarray(pixels[..., :3] * opacity + ground * (1 - opacity), np.float32)


def _with_opacity(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width, channels = pixels.shape
    if channels == 4:
        return pixels
    colours = np.broadcast_to(pixels, (height, width, 3))
    return np.concatenate([colours, np.ones((height, width, 1), np.float32)], axis=-1)


def put(square: NDArray[Any], room: NDArray[np.float32]) -> None:
    """Write a square (h, w, k) of bytes or floats into (h, w, c) as floats in [-1, 1]: k 1 or 3 for c of these.

    By NumPy, which leaves Python's lock alone and takes one core.
    """
    wanted = room.shape[2]
    if square.shape[2] not in (1, wanted):
        colours = as_floats(square[..., :3])
        room[..., 0] = colours[..., 0] * np.float32(LUMA[0])
        for channel in (1, 2):
            room[..., 0] += colours[..., channel] * np.float32(LUMA[channel])
        return
    room[...] = as_floats(square)


def as_floats(values: NDArray[Any]) -> NDArray[np.float32]:
    """Bytes -> v / 127.5 - 1; floats stay."""
    if values.dtype != np.uint8:
        return np.asarray(values, np.float32)
    floats = np.divide(values, np.float32(127.5), dtype=np.float32)
    floats -= 1
    return floats


def shades(pixels: Tensor) -> Tensor:
    """Bytes -> values in [-1, 1]; floats stay."""
    return pixels.float().div_(127.5).sub_(1.0) if pixels.dtype == torch.uint8 else pixels


def binarised(pictures: Tensor, generator: Generator) -> Tensor:
    """-1 or 1, with the shade as the chance of a 1 (Burda et al. 2016, arXiv 1509.00519, section 5)."""
    return torch.bernoulli((pictures + 1) / 2, generator=generator) * 2 - 1

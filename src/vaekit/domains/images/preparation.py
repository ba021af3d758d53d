"""Prepare images for training: resize, crop, mirror, and composite over a background."""

import math
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image, ImageColor
from torch import Generator, Tensor
from torch.nn import functional as F

from vaekit.domains.images.decode import Pixels
from vaekit.domains.images.exposure import EXPOSURES, Exposure
from vaekit.domains.images.read import COLORS
from vaekit.errors import BadRecipe, counted, printable
from vaekit.geometry import HasGeometry
from vaekit.metrics.image.color import LUMA
from vaekit.records import from_dict
from vaekit.shapes import Images

CROPS = ("random", "center", "busier", "whole")
BINARY = ("", "dynamic", "static")
OFTEN = ("alike", "area")


@dataclass(frozen=True)
class Preparation:
    """The table [data] of a recipe for images."""

    size: int
    """Side of the square crop, in pixels."""
    channels: int = 3
    """1: luma; 3: RGB; 4: RGBA, with -1 for transparent."""
    resize: tuple[int, ...] = ()
    """The short side of images before the square is cropped, in pixels; antialiased. One value; two, for a length
    between them that is uniform in its logarithm; or more, one of which is drawn. Empty: `size`, so that the crop spans
    the short side. 0 is the size of the image. Images are not enlarged, unless they are smaller than `size`."""
    crop: str = "random"
    """Position of the crop: "random"; "center"; "busier", that of two random ones with the higher contrast;
    "whole", no crop: the whole image as a square, even if its aspect ratio changes."""
    flip: bool = False
    """Mirror every image with a probability of one half."""
    often: str = "alike"
    """How often an image is drawn: "alike", equally; "area", in proportion to its area in crops of `size` at the
    largest short side, so that thumbnails do not outnumber photographs. For that, all headers are read at the start."""
    background: str = "white"
    """Background for transparent images, where the VAE has no alpha channel: a color name or #rrggbb."""
    exposure: str = "absolute"
    """"absolute": values of the file; "relative": stops relative to the mean of the image, so that lighting and
    exposure times do not matter. Four stops above the mean are 1."""
    binary: str = ""
    """"dynamic": values become -1 or 1 at random, each time that an image is drawn; "static": once; empty: values
    stay."""
    held_out: float | None = None
    """Images that are held out and measured during training: their number, or below 1 their share. None: one in twenty,
    at most 256. Of data with a test split, this many of its images are measured, or 256."""

    @property
    def exposing(self) -> Exposure:
        """The exposure."""
        return EXPOSURES[self.exposure]

    @property
    def varied(self) -> bool:
        """Whether square images are resized or cropped in different ways from one time to the next."""
        return self.resize not in ((), (self.size,))


def preparation_from(table: object) -> Preparation:
    """Read the table.

    Raises:
        BadRecipe: a value is missing, unknown, of another type, or out of range.
    """
    try:
        made = from_dict(Preparation, table)
        ImageColor.getrgb(made.background)
        for right, why in (
            (1 <= made.size <= 65536, "size is from 1 to 65536"),
            (made.channels in COLORS, "channels is 1, 3 or 4"),
            (made.crop in CROPS, f"crop is one of {', '.join(CROPS)}"),
            (made.exposure in EXPOSURES, f"exposure is one of {', '.join(EXPOSURES)}"),
            (made.exposure == "absolute" or made.channels < 4, "relative exposure requires images without alpha"),
            (made.exposure == "absolute" or not made.binary, "binary images have no relative exposure"),
            (made.often in OFTEN, f"often is one of {', '.join(OFTEN)}"),
            (made.binary in BINARY, "binary is dynamic, static or empty"),
            (
                all(side == 0 or side >= made.size for side in made.resize),
                f"resize is {list(made.resize)}, not 0 or from {made.size} on",
            ),
            (made.held_out is None or made.held_out >= 0, "held_out is a number or a share"),
        ):
            if not right:
                raise ValueError(why)
    except ValueError as error:
        raise BadRecipe(f"In [data], {printable(str(error), 300)}.", "", "See docs/training.md.") from error
    return made


def check_fit(preparation: Preparation, config: HasGeometry, recipe: str) -> None:
    """Check that a VAE takes the images of a recipe.

    Args:
        preparation: of the recipe.
        config: of the VAE.
        recipe: name of the recipe.

    Raises:
        BadItem: the VAE takes no images.
        BadRecipe: it takes other channels, or another size.
    """
    geometry = config.geometry
    geometry.require_axes(2, "images")
    size, only, factor = preparation.size, geometry.size[0] if geometry.size else None, geometry.factors[0]
    if preparation.channels != geometry.channels:
        raise BadRecipe(
            f"The images of the recipe {recipe} have {counted(preparation.channels, 'channel')}.",
            f"Its VAE takes {geometry.channels}.",
            f"Set data.channels={geometry.channels}.",
        )
    if size != only if only else size % factor:
        raise BadRecipe(
            f"The images of the recipe {recipe} are {size} pixels wide.",
            f"Its VAE takes {only or f'multiples of {factor}'}.",
            f"Set data.size={only or max(1, size // factor) * factor}.",
        )


def short_side(preparation: Preparation, random: Random) -> int:
    """The short side that an image is resized to this time; 0 for its own."""
    lengths = preparation.resize or (preparation.size,)
    if len(lengths) == 2 and all(lengths):
        low, high = math.log(lengths[0]), math.log(lengths[1])
        return round(math.exp(low + (high - low) * random.random()))
    return lengths[int(random.random() * len(lengths))]


def busyness(crop: NDArray[Any]) -> float:
    """The contrast of a crop (h, w, c): the standard deviation of its green or gray channel."""
    return float(crop[::2, ::2, 1 if crop.shape[2] > 1 else 0].std())


def too_small(pixels: Pixels, size: int) -> bool:
    """Whether an image has to be enlarged."""
    return min(extent(pixels)) < size


def extent(pixels: Pixels) -> tuple[int, int]:
    """Width and height."""
    return pixels.size if isinstance(pixels, Image.Image) else (pixels.shape[1], pixels.shape[0])


def cut(pixels: Pixels, preparation: Preparation, target: int, random: Random) -> NDArray[Any]:
    """The square crop, (size, size, c), bytes or floats in [-1, 1]; c is 1, 3 or 4.

    The square is cropped first, with the side that becomes `size` when the short side becomes `target`, and resized
    then, so that an image of 1 x 10,000 pixels takes no more memory than another.

    Args:
        pixels: the image.
        preparation: of the recipe.
        target: the short side after resizing, 0 for its own.
        random: source of random positions.
    """
    shown = composited(pixels, preparation)
    if preparation.crop == "whole":
        square = as_square(shown, preparation.size)
        return square[:, ::-1] if preparation.flip and random.random() < 0.5 else square
    short, size = min(extent(shown)), preparation.size
    side = max(1, round(size * short / max(min(target or short, short), size)))
    if preparation.crop == "busier" and extent(shown) != (side, side):
        square = max((piece(shown, side, False, random) for _ in range(2)), key=busyness)
    else:
        square = piece(shown, side, preparation.crop == "center", random)
    if side != size:
        square = resized(square, size)
    return square[:, ::-1] if preparation.flip and random.random() < 0.5 else square


def whole(pixels: Pixels, preparation: Preparation, side: int) -> NDArray[Any]:
    """A whole image as a square, (side, side, c), bytes or floats in [-1, 1]; the aspect ratio may change."""
    return as_square(composited(pixels, preparation), side)


def as_square(pixels: Pixels, side: int) -> NDArray[Any]:
    """An image resized to a square, (side, side, c)."""
    values = pixels if isinstance(pixels, np.ndarray) else np.array(pixels)
    values = values[..., None] if values.ndim == 2 else values
    return values if values.shape[:2] == (side, side) else resized(values, side)


def piece(pixels: Pixels, side: int, central: bool, random: Random) -> NDArray[Any]:
    """A square crop of an image, (side, side, c)."""
    left, top = (
        free // 2 if central else int(random.random() * (free + 1)) for free in (each - side for each in extent(pixels))
    )
    if isinstance(pixels, np.ndarray):
        return pixels[top : top + side, left : left + side]
    values = np.array(pixels.crop((left, top, left + side, top + side)))
    return values[..., None] if values.ndim == 2 else values


def resized(square: NDArray[Any], size: int) -> NDArray[Any]:
    """Resize a square (h, w, c); see `resized_to`."""
    return resized_to(square, (size, size))


def resized_to(values: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Resize an image (h, w, c) to rows and columns: bicubic and antialiased, equal to Pillow within one level of 255.

    Done by torch, in a fifth of Pillow's time. Colors are weighted by alpha.
    """
    if values.shape[2] == 4:
        return _resized_with_alpha(as_floats(values), size)
    planes = torch.from_numpy(np.ascontiguousarray(values)).permute(2, 0, 1)[None]
    scaled = F.interpolate(planes, size, mode="bicubic", antialias=True)[0].permute(1, 2, 0)
    return (scaled if scaled.dtype == torch.uint8 else scaled.clamp(-1, 1)).numpy()


def _resized_with_alpha(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    opacity = (values[..., 3:] + 1) / 2
    weighed = resized_to(values[..., :3] * opacity, size)
    opacity = (resized_to(values[..., 3:], size) + 1) / 2
    colors = np.divide(weighed, opacity, out=np.zeros_like(weighed), where=opacity > 0)
    return np.concatenate([colors.clip(-1, 1), opacity * 2 - 1], axis=-1)


def composited(pixels: Pixels, preparation: Preparation) -> Pixels:
    """The image without alpha, composited over the background, or with alpha where the VAE takes it."""
    opaque = preparation.channels != 4
    if isinstance(pixels, np.ndarray):
        return _floats_composited(pixels, preparation.background) if opaque else _with_alpha(pixels)
    if not opaque:
        return pixels if pixels.mode == "RGBA" else pixels.convert("RGBA")
    if pixels.mode != "RGBA":
        return pixels
    ground = Image.new("RGBA", pixels.size, (*ImageColor.getrgb(preparation.background)[:3], 255))
    return Image.alpha_composite(ground, pixels).convert("RGB")


def _floats_composited(pixels: NDArray[np.float32], background: str) -> NDArray[np.float32]:
    if pixels.shape[2] != 4:
        return pixels
    opacity = (pixels[..., 3:] + 1) / 2
    ground = np.array(ImageColor.getrgb(background)[:3], np.float32) / np.float32(127.5) - 1
    return np.asarray(pixels[..., :3] * opacity + ground * (1 - opacity), np.float32)


def _with_alpha(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width, channels = pixels.shape
    if channels == 4:
        return pixels
    colors = np.broadcast_to(pixels, (height, width, 3))
    return np.concatenate([colors, np.ones((height, width, 1), np.float32)], axis=-1)


def put(square: NDArray[Any], out: NDArray[np.float32]) -> None:
    """Write a square (h, w, k) of bytes or floats into (h, w, c) as floats in [-1, 1]; gray becomes RGB, and RGB luma.

    Done by NumPy, which releases the GIL and uses one core.
    """
    wanted = out.shape[2]
    if square.shape[2] not in (1, wanted):
        colors = as_floats(square[..., :3])
        out[..., 0] = colors[..., 0] * np.float32(LUMA[0])
        for channel in (1, 2):
            out[..., 0] += colors[..., channel] * np.float32(LUMA[channel])
        return
    out[...] = as_floats(square)


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


def binarized(images: Tensor, generator: Generator) -> Tensor:
    """Values -1 or 1, with intensities as probabilities of 1 (Burda et al. 2016, arXiv 1509.00519, section 5)."""
    return torch.bernoulli((images + 1) / 2, generator=generator) * 2 - 1


def square(pixels: Images, side: int) -> Float[Tensor, "b c side side"]:
    """Resize and center-crop images (b, c, h, w) to (b, c, side, side): the short side becomes `side`, antialiased
    bicubic. Values are clamped to [-1, 1]."""
    height, width = pixels.shape[2:]
    scale = side / min(height, width)
    size = (max(side, round(height * scale)), max(side, round(width * scale)))
    resized = pixels
    if size != (height, width):
        resized = F.interpolate(pixels, size, mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    return resized[:, :, top : top + side, left : left + side]

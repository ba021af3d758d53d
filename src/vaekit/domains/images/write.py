"""Tensors to image files, and several images on one sheet."""

import functools
import struct
import unicodedata
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageDraw, ImageFont
from torch import Tensor

from vaekit.atomic import atomic_file, cannot_write
from vaekit.domains.images.colors import from_bytes
from vaekit.domains.images.read import LoadedImage
from vaekit.errors import BadItem, CannotWrite
from vaekit.metrics.image.color import over_white
from vaekit.shapes import Images

ImageTensor = Float[Tensor, "1 3 h w"]
"""RGB in sRGB encoding, range [-1, 1]."""

FORMAT_BY_ENDING = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}

SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    # Runs only: a fifth of the time that looking for repetitions takes, which what a VAE gives does not have.
    "PNG": {"compress_type": zlib.Z_RLE},
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    # exact: keep the colors under transparent pixels.
    "WEBP": {"lossless": True, "exact": True},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}


def to_bytes(pixels: Images) -> NDArray[np.uint8]:
    """Values in [-1, 1] to the nearest of 256 levels: (1, c, h, w) to (h, w, c). Values beyond the range are clamped.

    `v / 127.5 - 1` for each level v comes back as v.

    Raises:
        BadItem: some values are NaN or infinite; there is no honest level for them.
    """
    values = pixels.detach().float().cpu().numpy()[0]
    broken = 0 if np.isfinite(values).all() else pixels.numel() - int(pixels.isfinite().sum())
    if broken:
        raise BadItem(
            f"The image has {broken:,} values that are not numbers (NaN or infinite), of {pixels.numel():,}.",
            "Numbers from -1 to 1 were expected.",
            "Examine the VAE with `vaekit doctor`; if it ran in fp16, run it in bf16 or fp32.",
        )
    levels = np.empty((*values.shape[1:], len(values)), np.uint8)
    for channel, shades in enumerate(values):
        levels[..., channel] = _levels(shades)
    return levels


def _levels(shades: NDArray[np.float32]) -> NDArray[np.float32]:
    """By NumPy and in one buffer: torch would take all cores for it, while a network runs on them."""
    levels = shades.clip(-1, 1)
    levels += 1
    levels *= np.float32(127.5)
    return np.rint(levels, out=levels)


def write_image(path: Path, pixels: ImageTensor, like: LoadedImage | None = None, alpha: Tensor | None = None) -> None:
    """Write pixels (1, 3, h, w) in [-1, 1] as PNG, JPEG (quality 95, 4:4:4), lossless WebP or TIFF, by the ending.

    The file appears whole or not at all, with 8 bits a channel, always in color.

    Args:
        like: the image that these pixels were made from. Its EXIF, its dots per inch and its transparency are kept,
            and where it had a color profile, that of sRGB is embedded (the pixels are sRGB by now).
        alpha: (1, 1, h, w) in [0, 1], in place of that of `like`. JPEG has no transparency: there the image is laid
            over white, mixing the encoded sRGB values as browsers do.

    Raises:
        CannotWrite: an unknown ending, a folder that may not be written, a full disk, an image too large for its
            format (65,535 pixels a side for JPEG, 16,383 for WebP).
        BadItem: some values are NaN or infinite.
        ValueError: alpha has another size than the pixels.
    """
    name = _format(path)
    opacity = alpha if alpha is not None or like is None else like.alpha
    image = _image(pixels, opacity, can_be_transparent=name != "JPEG")
    options = SAVE_OPTIONS[name] | (_facts(like) if like else {})
    if name == "TIFF" and "exif" in options:
        # libtiff, which does the compressing, cannot write the blocks of EXIF; Pillow's own writer can.
        options["compression"] = "raw"
    with atomic_file(path) as part:
        try:
            image.save(part, format=name, **options)
        # Pillow's encoders raise these for what their format cannot hold.
        except (ValueError, RuntimeError, struct.error, OverflowError, MemoryError) as error:
            raise cannot_write(path, error) from error


def _format(path: Path) -> str:
    name = FORMAT_BY_ENDING.get(path.suffix.lower())
    if name is None:
        raise CannotWrite(
            f"Images cannot be written as '{path.suffix}' ({path}).",
            f"The endings {', '.join(FORMAT_BY_ENDING)} are known.",
            "Give the file one of them; .png loses nothing.",
        )
    return name


def _image(pixels: ImageTensor, alpha: Tensor | None, can_be_transparent: bool) -> Image.Image:
    if alpha is None:
        return Image.fromarray(to_bytes(pixels))
    if alpha.shape[-2:] != pixels.shape[-2:]:
        raise ValueError(f"alpha is {tuple(alpha.shape[-2:])}, the image {tuple(pixels.shape[-2:])}")
    alpha = alpha.to(pixels).clamp(0, 1)
    if not can_be_transparent:
        return Image.fromarray(to_bytes(over_white(pixels, alpha)))
    image = Image.fromarray(to_bytes(pixels))
    image.putalpha(Image.fromarray(to_bytes(alpha.expand_as(pixels).mul(2).sub(1))[..., 0]))
    return image


def _facts(like: LoadedImage) -> dict[str, Any]:
    facts = {"icc_profile": srgb_profile() if like.icc else None, "exif": like.exif, "dpi": like.dpi}
    return {name: fact for name, fact in facts.items() if fact is not None}


@functools.cache
def srgb_profile() -> bytes:
    """The ICC profile of sRGB, the same bytes every time."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Bytes 24 to 35 of the header are the time of making (ICC.1:2022, 7.2.8); files should not differ by it.
    return profile[:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + profile[36:]


# Sheets

PAIR = ("original", "reconstruction")
"""Captions."""
PAPER = (240, 240, 240)
INK = (40, 40, 40)

NARROWEST_PANEL = 192
"""Pixels. Smaller images are enlarged by a whole factor, pixel by pixel, to about this."""

SMALLEST_TEXT = 11
"""Pixels. Below it captions are cut rather than made smaller."""


def side_by_side(images: Sequence[ImageTensor], captions: Sequence[str]) -> Float[Tensor, "1 3 rows columns"]:
    """One sheet with equally sized images beside each other, each over its caption.

    Images wider than 2:1 are stacked. Small ones are enlarged by repeating pixels; nothing is ever resampled.

    Args:
        images: each (1, 3, h, w) in [-1, 1], all of one size.
        captions: one line for each; long ones are written smaller, then cut.

    Returns:
        The sheet, (1, 3, rows, columns) in [-1, 1].

    Raises:
        BadItem: some values are NaN or infinite.
        ValueError: no images, images of different sizes, or not a caption for each.
    """
    if not images or len({image.shape for image in images}) != 1:
        raise ValueError(f"one or more images of one size, not {[tuple(image.shape) for image in images]}")
    panels = [_enlarged(image) for image in images]
    texts, font = _fitted(captions, panels[0].width)
    captioned = [_captioned(panel, text, font) for panel, text in zip(panels, texts, strict=True)]
    height, width = images[0].shape[-2:]
    sheet = _arranged(captioned, stacked=width > 2 * height)
    return from_bytes(sheet)


def _enlarged(image: ImageTensor) -> Image.Image:
    """The image as an image; on a wider piece of paper where it is very narrow."""
    panel = Image.fromarray(to_bytes(image))
    factor = max(1, round(NARROWEST_PANEL / max(panel.size)))
    panel = panel.resize((panel.width * factor, panel.height * factor), Image.Resampling.NEAREST)
    if panel.width >= NARROWEST_PANEL * 2 // 3:
        return panel
    paper = Image.new("RGB", (NARROWEST_PANEL * 2 // 3, panel.height), PAPER)
    paper.paste(panel, (0, 0))
    return paper


def _fitted(captions: Sequence[str], width: int) -> tuple[list[str], ImageFont.FreeTypeFont]:
    """The captions in the largest common size that fits, and cut where even the smallest does not."""
    texts = [_writable(caption) for caption in captions]
    size = max(15, round(width / 32))
    longest = max(map(_font(size).getlength, texts), default=0)
    if longest > width:
        # A little below proportion: letters are hinted to whole pixels, so that lengths are not quite in proportion.
        size = max(SMALLEST_TEXT, int(0.98 * size * width / longest))
    font = _font(size)
    return [_cut(text, font, width) for text in texts], font


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size=size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("this Pillow was built without FreeType")
    return font


def _writable(caption: str) -> str:
    """The caption in the letters that Pillow's font has: ASCII and a few signs."""
    # The multiplication sign, both dashes and the arrow.
    replaced = caption.translate(str.maketrans("\u00d7\u2013\u2014\u2192", "x-->"))
    letters = (letter for letter in unicodedata.normalize("NFKD", replaced) if not unicodedata.combining(letter))
    return "".join(letter if " " <= letter <= "~" or letter in "·±°" else "?" for letter in letters)


def _cut(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def _captioned(panel: Image.Image, text: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    # The line is as high as the font, not as the text: captions without descenders stay level with the others.
    ascent, descent = font.getmetrics()
    gap = round(font.size * 0.45)
    whole = Image.new("RGB", (panel.width, panel.height + gap + ascent + descent), PAPER)
    whole.paste(panel, (0, 0))
    ImageDraw.Draw(whole).text((0, panel.height + gap + ascent), text, fill=INK, font=font, anchor="ls")
    return whole


def _arranged(panels: Sequence[Image.Image], stacked: bool) -> Image.Image:
    width, height = panels[0].size
    gutter = max(8, round(min(width, height) / 40))
    columns, rows = (1, len(panels)) if stacked else (len(panels), 1)
    size = (gutter + columns * (width + gutter), gutter + rows * (height + gutter))
    sheet = Image.new("RGB", size, PAPER)
    for index, panel in enumerate(panels):
        column, row = (0, index) if stacked else (index, 0)
        sheet.paste(panel, (gutter + column * (width + gutter), gutter + row * (height + gutter)))
    return sheet

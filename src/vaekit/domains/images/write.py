"""Write tensors to image files, and arrange images on sheets."""

import functools
import struct
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageDraw, ImageFont
from torch import Tensor

from vaekit.atomic import atomic_file, cannot_write
from vaekit.domains.images.colors import from_bytes
from vaekit.domains.images.read import LoadedImage
from vaekit.errors import BadItem, CannotWrite, counted
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
    # Run-length encoding takes a fifth of the time of searching for repetitions, which decoded images do not have.
    "PNG": {"compress_type": zlib.Z_RLE},
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    # exact: keep the colors of transparent pixels.
    "WEBP": {"lossless": True, "exact": True},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}


def to_bytes(pixels: Images) -> NDArray[np.uint8]:
    """Round values in [-1, 1] to 256 levels: (1, c, h, w) to (h, w, c). Values beyond the range are clamped.

    The inverse of `v / 127.5 - 1` for a level v.

    Raises:
        BadItem: some values are NaN or infinite.
    """
    values = pixels.detach().float().cpu().numpy()[0]
    broken = 0 if np.isfinite(values).all() else pixels.numel() - int(pixels.isfinite().sum())
    if broken:
        raise BadItem(
            f"The image has {counted(broken, 'NaN or infinite value')}, of {pixels.numel():,}.",
            "Numbers from -1 to 1 were expected.",
            "Examine the VAE with `vaekit doctor`; if it ran in fp16, run it in bf16 or fp32.",
        )
    levels = np.empty((*values.shape[1:], len(values)), np.uint8)
    for channel, shades in enumerate(values):
        levels[..., channel] = _levels(shades)
    return levels


def _levels(shades: NDArray[np.float32]) -> NDArray[np.float32]:
    # By NumPy and in one buffer: torch would use all cores, on which a network runs at the same time.
    levels = shades.clip(-1, 1)
    levels += 1
    levels *= np.float32(127.5)
    return np.rint(levels, out=levels)


def write_image(path: Path, pixels: ImageTensor, like: LoadedImage | None = None, alpha: Tensor | None = None) -> None:
    """Write pixels (1, 3, h, w) in [-1, 1] as PNG, JPEG (quality 95, 4:4:4), lossless WebP or TIFF, by the file ending.

    The file is written atomically, in RGB with 8 bits per channel.

    Args:
        like: the original image. Its EXIF, resolution and transparency are copied, and if it had a color profile, that
            of sRGB is embedded, since pixels were converted on reading.
        alpha: (1, 1, h, w) in [0, 1], instead of that of `like`. JPEG has no transparency: the image is blended with
            white there, in encoded sRGB values as in browsers.

    Raises:
        CannotWrite: the ending is unknown, the folder is not writable, the disk is full, or the image is too large for
            its format (65,535 pixels a side for JPEG, 16,383 for WebP).
        BadItem: some values are NaN or infinite.
        ValueError: alpha has another size than the pixels.
    """
    name = _format(path)
    opacity = alpha if alpha is not None or like is None else like.alpha
    image = _image(pixels, opacity, can_be_transparent=name != "JPEG")
    write_8_bit(path, image, _facts(like) if like else {})


def write_8_bit(path: Path, image: Image.Image, facts: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Write an image that has the values of a file; see `write_image`.

    Args:
        facts: EXIF, resolution and color profile, as Pillow's encoders take them.
    """
    name = _format(path)
    options = {**SAVE_OPTIONS[name], **facts}
    if name == "TIFF" and "exif" in options:
        # libtiff, which does the compressing, cannot write the blocks of EXIF; Pillow's own writer can.
        options["compression"] = "raw"
    with atomic_file(path) as part:
        try:
            image.save(part, format=name, **options)
        # Raised by Pillow's encoders for images that their format cannot represent.
        except (ValueError, RuntimeError, struct.error, OverflowError, MemoryError) as error:
            raise cannot_write(path, error) from error


def _format(path: Path) -> str:
    name = FORMAT_BY_ENDING.get(path.suffix.lower())
    if name is None:
        raise CannotWrite(
            f"Images cannot be written as '{path.suffix}' ({path}).",
            f"The endings {', '.join(FORMAT_BY_ENDING)} are known.",
            "Use one of them; .png is lossless.",
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
    """The ICC profile of sRGB, without a timestamp."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Bytes 24 to 35 of the header are the time of creation (ICC.1:2022, 7.2.8).
    return profile[:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + profile[36:]


# Sheets

PAIR = ("original", "reconstruction")
"""Captions."""
PAPER = (240, 240, 240)
INK = (40, 40, 40)

NARROWEST_PANEL = 192
"""Pixels. Narrower images are enlarged by an integer factor, by repeating pixels."""

SMALLEST_TEXT = 11
"""Pixels. Longer captions are cut rather than set in a smaller size."""


def side_by_side(images: Sequence[ImageTensor], captions: Sequence[str]) -> Float[Tensor, "1 3 rows columns"]:
    """A sheet with images of one size next to each other, each above its caption.

    Images wider than 2:1 are stacked. Small ones are enlarged by repeating pixels; images are never resampled.

    Args:
        images: each (1, 3, h, w) in [-1, 1], all of one size.
        captions: one line for each; long ones are set in a smaller size, then cut.

    Returns:
        The sheet, (1, 3, rows, columns) in [-1, 1].

    Raises:
        BadItem: some values are NaN or infinite.
        ValueError: there are no images, or they differ in size, or not every one has a caption.
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
    """An image, enlarged if small, and on a wider background if narrow."""
    panel = Image.fromarray(to_bytes(image))
    factor = max(1, round(NARROWEST_PANEL / max(panel.size)))
    panel = panel.resize((panel.width * factor, panel.height * factor), Image.Resampling.NEAREST)
    if panel.width >= NARROWEST_PANEL * 2 // 3:
        return panel
    paper = Image.new("RGB", (NARROWEST_PANEL * 2 // 3, panel.height), PAPER)
    paper.paste(panel, (0, 0))
    return paper


def _fitted(captions: Sequence[str], width: int) -> tuple[list[str], ImageFont.FreeTypeFont]:
    """The captions in the largest common font size that fits, cut if even the smallest does not."""
    texts = [writable(caption) for caption in captions]
    size = max(15, round(width / 32))
    longest = max(map(font_of_size(size).getlength, texts), default=0)
    if longest > width:
        # Slightly below proportion: glyphs are hinted to whole pixels, so widths are not exactly proportional.
        size = max(SMALLEST_TEXT, int(0.98 * size * width / longest))
    font = font_of_size(size)
    return [_cut(text, font, width) for text in texts], font


def font_of_size(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's font in a size in pixels."""
    font = ImageFont.load_default(size=size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("this Pillow was built without FreeType")
    return font


def writable(caption: str) -> str:
    """The caption in characters of Pillow's font: ASCII and a few symbols."""
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
    # The line has the height of the font, not of the text, so that captions without descenders are aligned, too.
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

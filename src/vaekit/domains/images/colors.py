"""Whatever kind of pixels a file has, to sRGB and transparency: wide grays, palettes, CMYK, color profiles."""

import functools
import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms
from torch import Tensor

from vaekit.errors import counted, printable


def colors_and_alpha(image: Image.Image, raw_mode: str, notes: list[str]) -> tuple[Tensor, Tensor | None]:
    if wide(image) and not image.info.get("icc_profile"):
        shades, alpha = _shades(image, raw_mode, notes)
        return shades.mul(2).sub(1).expand(1, 3, -1, -1).contiguous(), alpha
    colors, alpha = bytes_and_alpha(image, raw_mode, notes)
    return from_bytes(colors), alpha


def wide(image: Image.Image) -> bool:
    """Whether it is a gray image of numbers wider than a byte."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def bytes_and_alpha(image: Image.Image, raw_mode: str, notes: list[str]) -> tuple[Image.Image, Tensor | None]:
    """An image in sRGB with 8 bits a channel, and its transparency (1, 1, h, w) in [0, 1]."""
    profile = image.info.get("icc_profile")
    if wide(image):
        shades, alpha = _shades(image, raw_mode, notes)
        notes.append("reduced to 8 bits for the sake of its color profile")
        colors = Image.fromarray(shades[0, 0].mul(255).round().byte().numpy())
    else:
        if "16" in raw_mode:
            notes.append("16-bit, read with 8 bits")
        colors, alpha = _without_alpha(image, raw_mode)
    return _to_srgb(colors, profile, notes) if profile else _plain_rgb(colors, notes), alpha


def from_bytes(image: Image.Image) -> Tensor:
    """The pixels (1, c, h, w) of an 8-bit image: v / 127.5 - 1.

    By NumPy, not torch, which would take all cores for it: images are read while a network runs.
    """
    bands = image.split()
    pixels = np.empty((len(bands), image.height, image.width), np.float32)
    for values, band in zip(pixels, bands, strict=True):
        values[:] = np.asarray(band)
        values /= np.float32(127.5)
        values -= 1
    return torch.from_numpy(pixels).unsqueeze(0)


def _shades(image: Image.Image, raw_mode: str, notes: list[str]) -> tuple[Tensor, Tensor | None]:
    """A gray image of numbers wider than a byte: (1, 1, h, w) in [0, 1], and its alpha.

    Pillow's own conversion would cut everything above 255.
    """
    numbers = np.asarray(image)
    transparent = image.info.get("transparency")
    alpha = _alpha(numbers != transparent) if isinstance(transparent, int) else None
    white = 1.0 if image.mode == "F" else 4095.0 if raw_mode.startswith("I;12") else 65535.0
    shades = _scaled(numbers.astype(np.float64), white, notes)
    return torch.from_numpy(shades).float()[None, None], alpha


def _scaled(numbers: NDArray[np.float64], white: float, notes: list[str]) -> NDArray[np.float64]:
    finite = np.isfinite(numbers)
    if not finite.all():
        notes.append(f"{counted(int(np.count_nonzero(~finite)), 'non-finite value')} shown as the darkest one")
        numbers = np.where(finite, numbers, numbers[finite].min() if finite.any() else 0.0)
    low, high = float(numbers.min()), float(numbers.max())
    if low >= 0 and high <= white:
        return numbers / white
    notes.append(f"gray values from {low:g} to {high:g} stretched from black to white")
    return np.asarray((numbers - low) / max(high - low, np.finfo(np.float64).tiny))


def _without_alpha(image: Image.Image, raw_mode: str) -> tuple[Image.Image, Tensor | None]:
    """The image without transparency, its colors untouched, and the transparency."""
    if not image.has_transparency_data:
        return image, None
    _widen_transparent_color(image, raw_mode)
    straight = image.convert("LA") if image.mode == "La" else image
    rgba = straight.convert("RGBA")
    colors = rgba.convert("RGB")
    gray = image.mode in ("1", "L", "LA", "La")
    return colors.convert("L") if gray else colors, _alpha(np.asarray(rgba.getchannel("A")) / np.float32(255))


def _widen_transparent_color(image: Image.Image, raw_mode: str) -> None:
    """PNG names the transparent color in the file's bits; Pillow widens or narrows the pixels to 8, but not this."""
    color = image.info.get("transparency")
    if isinstance(color, int) and raw_mode in ("L;2", "L;4"):
        image.info["transparency"] = color * (85 if raw_mode == "L;2" else 17)
    elif isinstance(color, tuple) and "16" in raw_mode:
        image.info["transparency"] = tuple(value >> 8 for value in color)


def _alpha(opacity: NDArray[np.bool_] | NDArray[np.floating]) -> Tensor | None:
    if opacity.min() == 1:
        return None
    return torch.from_numpy(opacity.astype(np.float32))[None, None]


def _plain_rgb(image: Image.Image, notes: list[str]) -> Image.Image:
    if image.mode == "CMYK":
        notes.append("CMYK without a usable color profile, converted by the simple rule")
    return _rgb(image)


def _rgb(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")  # Pillow would copy it


def _to_srgb(image: Image.Image, profile: bytes, notes: list[str]) -> Image.Image:
    try:
        return _managed(image, profile, notes)
    except Exception:  # lcms raises its own errors, its wrapper others
        notes.append("broken color profile ignored")
        return _plain_rgb(image, notes)


def _managed(image: Image.Image, content: bytes, notes: list[str]) -> Image.Image:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
    name = printable(profile.profile.profile_description or "without a name")
    mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(profile.profile.xcolor_space.strip())
    if mode is None or mode not in _modes_to_manage(image):
        notes.append(f"color profile '{name}' ignored: it is not for {image.mode} images")
        return _plain_rgb(image, notes)
    if mode == "RGB" and _changes_nothing(content):
        return _rgb(image)
    notes.append(f"color profile '{name}' converted to sRGB")
    return _transform(profile, mode).apply(image.convert(mode))


def _transform(profile: ImageCms.ImageCmsProfile, mode: str) -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(
        profile,
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


def _modes_to_manage(image: Image.Image) -> tuple[str, ...]:
    """The modes that hold this image's own values. Gray images often carry the profile of an RGB space."""
    if image.mode in ("1", "L"):
        return ("L", "RGB")
    return () if image.mode == "LAB" else ("CMYK",) if image.mode == "CMYK" else ("RGB",)


@functools.lru_cache(maxsize=8)
def _changes_nothing(profile: bytes) -> bool:
    """Whether colors all over the cube stay within two levels of 255: then the profile is one of the many sRGBs.

    Their names do not matter: those of linear spaces contain "sRGB" too.
    """
    transform = _transform(ImageCms.ImageCmsProfile(io.BytesIO(profile)), "RGB")
    steps = np.arange(0, 256, 17, dtype=np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(64, 64, 3)
    changed = np.asarray(transform.apply(Image.fromarray(cube)))
    return bool(np.abs(changed.astype(int) - cube).max() <= 2)

"""Measure reconstructions against an original; what depends on the original alone is computed once."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vaekit.comparison.signals import Signals, signals
from vaekit.metrics.image.clipping import clipped_gained
from vaekit.metrics.image.color import Planes, color_shift, luma
from vaekit.metrics.image.color_bias import bias_of_lab
from vaekit.metrics.image.contrast_gain import contrast_gain, distinct_colors
from vaekit.metrics.image.delta_e import delta_e_map, summary
from vaekit.metrics.image.detail import detail
from vaekit.metrics.image.gradients import Gradients, edge_sharpness, gradient, gradient_retention, strongest_edges
from vaekit.metrics.image.lab import lab
from vaekit.metrics.image.levels import as_saved
from vaekit.metrics.image.lpips import LPIPS
from vaekit.metrics.image.ms_ssim import ms_ssim
from vaekit.metrics.image.patches import foliage, mean_under, share, skin
from vaekit.metrics.image.psnr import psnr
from vaekit.metrics.image.ringing import ringing
from vaekit.metrics.image.ssim import ssim
from vaekit.metrics.image.tone import tone_curve
from vaekit.shapes import Images


class Original:
    """One image and what is known of it.

    Args:
        pixels: (1, 3, h, w) in [-1, 1], on the 256 levels of a file.
    """

    def __init__(self, pixels: Images) -> None:
        self.pixels = pixels
        self._described: dict[str, tuple[Tensor, ...]] = {}

    def described(self, name: str, model: LPIPS) -> tuple[Tensor, ...]:
        """Its features in the network of LPIPS of this name."""
        if name not in self._described:
            self._described[name] = model.described(self.pixels)
        return self._described[name]

    @cached_property
    def lab(self) -> Images:
        """L*, a*, b*."""
        return lab(self.pixels)

    @cached_property
    def luma(self) -> Planes:
        return luma(self.pixels)

    @cached_property
    def gradient(self) -> Gradients:
        """Of the luma."""
        return gradient(self.luma)

    @cached_property
    def edges(self) -> Bool[Tensor, "b i j"]:
        """Where it is steepest."""
        return strongest_edges(self.gradient)

    @cached_property
    def colors(self) -> Float[Tensor, " b"]:
        """How many different ones there are."""
        return distinct_colors(self.pixels)

    @cached_property
    def places(self) -> dict[str, Bool[Tensor, "b h w"]]:
        """Where skin and foliage may be, by name."""
        return {"skin": skin(self.pixels), "foliage": foliage(self.pixels)}


SMALLEST = 32
"""Pixels of the shorter side that an image must have to be measured."""


LARGEST_PSNR = 100.0
"""dB of equal images: a mean over images needs a number."""


BLACK = torch.tensor(-1.0)


PATCH = 0.01
"""The share of an image that must look like skin or foliage for something to be said on it."""


@dataclass(frozen=True)
class ImageMeasurements:
    """What was found in one reconstruction."""

    measures: Mapping[str, float]
    """By the names of the table; NaN where this image cannot tell."""
    signals: Signals


@torch.no_grad()
def measure_image(original: Original, made: Images, perceptual: Mapping[str, LPIPS]) -> ImageMeasurements:
    """Measure a reconstruction.

    Args:
        original: the image, with sides of `SMALLEST` or more.
        made: (1, 3, h, w), as the VAE gave it or a file has it; values that are not finite are counted, and are black
            for all other measures, as most programs show them.
        perceptual: LPIPS by the name of its backbone.
    """
    found = signals(original.pixels, made)
    y = as_saved(torch.where(made.isfinite(), made, BLACK))
    measures = {
        **fidelity(original, y, perceptual),
        **colors(original, y),
        **tones(original, y),
        **details(original, y),
    }
    faults = {
        "grid": found.grid,
        "banding": found.levels_lost,
        "fried_pixels": found.fried,
        "border": found.edge,
        "droplets": found.droplets,
        "not_finite": found.nan,
    }
    return ImageMeasurements(measures | faults, found)


def fidelity(original: Original, y: Images, perceptual: Mapping[str, LPIPS]) -> dict[str, float]:
    """How near it is, pixel by pixel, in structure, and in deep features."""
    x = original.pixels
    distances = {
        f"lpips_{name}": model.between(original.described(name, model), model.described(y)).item()
        for name, model in perceptual.items()
        if min(x.shape[2:]) >= model.backbone.smallest
    }
    return {
        "psnr": min(LARGEST_PSNR, psnr(x, y).item()),
        "ssim": ssim(x, y).item(),
        "ms_ssim": ms_ssim(x, y).item(),
        **distances,
    }


def colors(original: Original, y: Images) -> dict[str, float]:
    """What became of its colors."""
    after = lab(y)
    distance = delta_e_map(original.lab, after)
    whole, bias = summary(distance), bias_of_lab(original.lab, after)
    red, green, blue = color_shift(original.pixels, y)[0].tolist()
    patches = {
        f"{name}_delta_e": mean_under(distance[:, None], mask).item() if share(mask).item() >= PATCH else math.nan
        for name, mask in original.places.items()
    }
    return {
        "delta_e": whole.mean.item(),
        "delta_e_95": whole.percentile95.item(),
        "lightness_bias": bias.lightness.item(),
        "chroma_bias": 100 * (bias.chroma.item() - 1),
        "hue_bias": bias.hue.item(),
        "white_tint": bias.white[0].norm().item(),
        "red_shift": red,
        "green_shift": green,
        "blue_shift": blue,
        **patches,
    }


def tones(original: Original, y: Images) -> dict[str, float]:
    """What became of its contrast, and of its black and white."""
    curve = tone_curve(original.pixels, y)
    black, white = curve.range[0].tolist()
    shadows, highlights = clipped_gained(original.pixels, y)[0].tolist()
    return {
        "contrast": curve.slope.item(),
        "brightness": curve.shift.item(),
        "white_point": white,
        "black_point": black,
        "highlights_clipped": highlights,
        "shadows_clipped": shadows,
        "contrast_gain": contrast_gain(original.luma, luma(y)).item(),
    }


def details(original: Original, y: Images) -> dict[str, float]:
    """What became of its detail."""
    after = luma(y)
    slopes = gradient(after)
    octaves = detail(original.luma, after)
    return {
        **{f"detail_{number}": value for number, value in enumerate(octaves.kept[0].tolist(), start=1)},
        "power_1": octaves.power_ratio[0, 0].item(),
        "edge_sharpness": edge_sharpness(original.gradient, slopes, original.edges).item(),
        "gradient_retention": gradient_retention(original.gradient, slopes).item(),
        "ringing": ringing(original.luma, after, original.edges).item(),
        "distinct_colors": 100 * (distinct_colors(y) / original.colors).item(),
    }

"""Measure reconstructions against an original; results that depend on the original alone are cached."""

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
    """One image with cached properties.

    Args:
        pixels: (1, 3, h, w) in [-1, 1], rounded to 8 bits.
    """

    def __init__(self, pixels: Images) -> None:
        self.pixels = pixels
        self._features: dict[str, tuple[Tensor, ...]] = {}

    def features(self, name: str, model: LPIPS) -> tuple[Tensor, ...]:
        """Its features in the LPIPS network of this name."""
        if name not in self._features:
            self._features[name] = model.unit_features(self.pixels)
        return self._features[name]

    @cached_property
    def lab(self) -> Images:
        """L*, a*, b*."""
        return lab(self.pixels)

    @cached_property
    def luma(self) -> Planes:
        return luma(self.pixels)

    @cached_property
    def gradient(self) -> Gradients:
        """The gradient of the luma."""
        return gradient(self.luma)

    @cached_property
    def edges(self) -> Bool[Tensor, "b i j"]:
        """A mask of the strongest edges."""
        return strongest_edges(self.gradient)

    @cached_property
    def colors(self) -> Float[Tensor, " b"]:
        """The number of distinct colors."""
        return distinct_colors(self.pixels)

    @cached_property
    def places(self) -> dict[str, Bool[Tensor, "b h w"]]:
        """Masks of possible skin and foliage, by name."""
        return {"skin": skin(self.pixels), "foliage": foliage(self.pixels)}


SMALLEST = 32
"""The minimum shorter side of an image in pixels."""


LARGEST_PSNR = 100.0
"""The PSNR of identical images in dB, so that means are finite."""


BLACK = torch.tensor(-1.0)


PATCH = 0.01
"""The minimum share of skin or foliage in an image for its measures."""


@dataclass(frozen=True)
class ImageMeasurements:
    """The measurements of one reconstruction."""

    measures: Mapping[str, float]
    """By the names of the measure table; NaN if they do not apply to this image."""
    signals: Signals


@torch.no_grad()
def measure_image(original: Original, reconstruction: Images, perceptual: Mapping[str, LPIPS]) -> ImageMeasurements:
    """Measure a reconstruction.

    Args:
        original: the image, with sides of `SMALLEST` or more.
        reconstruction: (1, 3, h, w), as the VAE returned it or a file holds it. Non-finite values are counted, and are
            black for all other measures, as in most programs.
        perceptual: LPIPS by the name of its backbone.
    """
    image_signals = signals(original.pixels, reconstruction)
    y = as_saved(torch.where(reconstruction.isfinite(), reconstruction, BLACK))
    measures = {
        **fidelity(original, y, perceptual),
        **colors(original, y),
        **tones(original, y),
        **details(original, y),
    }
    faults = {
        "grid": image_signals.grid,
        "banding": image_signals.levels_lost,
        "fried_pixels": image_signals.fried,
        "border": image_signals.edge,
        "droplets": image_signals.droplets,
        "not_finite": image_signals.nan,
    }
    return ImageMeasurements(measures | faults, image_signals)


def fidelity(original: Original, y: Images, perceptual: Mapping[str, LPIPS]) -> dict[str, float]:
    """Similarity of pixels, structure and deep features."""
    x = original.pixels
    distances = {
        f"lpips_{name}": model.between(original.features(name, model), model.unit_features(y)).item()
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
    """Changes of color."""
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
    """Changes of contrast, black and white."""
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
    """Changes of detail."""
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

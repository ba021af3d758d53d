"""Measure the padding that a VAE was trained with: zeros or reflection, whichever gives the smaller border error.

Weights do not determine it, and files rarely state it. A network learns to compensate its padding at the border;
with the other padding this compensation is wrong, and flat images get a visible border. So flat images go through
the VAE with both paddings, and the padding with the smaller border error is the right one. docs/measuring.md has
the equations, the numbers behind the thresholds and the limits.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vaekit.families import assemble, family_with, padding_of
from vaekit.families.padding import PADDINGS, REFLECT, ZEROS
from vaekit.identification.probe_latents import probe_inputs
from vaekit.testcards.channels import in_channels
from vaekit.testcards.color import COLORS, Color, flat_colors
from vaekit.vae import VAE

UNSURE = "unsure"
POSITIONS = 16
"""Size of the flat images, in latent positions. If they are much smaller than a VAE's training images, the error of
that dominates: at 8 positions the built-in VAE, trained at 16, gives no verdict."""
MEASURED_COLORS = COLORS[1::2]
"""Light gray, red and blue-green: half of the test colors, in half of the time."""
CLEAR_RATIO = 1.5
"""The minimum ratio of the border errors of both paddings. docs/measuring.md has the ratios of real VAEs;
random weights, which have no right padding, gave ratios up to 1.2."""
BEYOND_DOUBT = 3.0
"""At this ratio the first color is sufficient."""


@dataclass(frozen=True)
class BorderError:
    """Mean absolute error of reconstructed flat images, in levels of 255."""

    border: float
    """The error at the outermost latent positions, `factor` pixels along each side."""
    inside: float
    """The error in the middle half of the image."""


@dataclass(frozen=True)
class PaddingProbe:
    """The result of the padding probe."""

    verdict: str
    """"zeros", "reflect" or "unsure"."""
    zeros: BorderError
    reflect: BorderError

    @property
    def ratio(self) -> float:
        """The ratio of the larger border error to the smaller one."""
        better, worse = sorted((self.zeros.border, self.reflect.border))
        return worse / max(better, 1e-6)

    @property
    def description(self) -> str:
        """Both measurements as text, the smaller border error first."""
        both = sorted(((ZEROS, self.zeros), (REFLECT, self.reflect)), key=lambda each: each[1].border)
        return "; ".join(
            f"{name}: border error {error.border:.1f}/255, {error.inside:.1f} inside" for name, error in both
        )


@torch.no_grad()
def probe_padding(vae: VAE, positions: int = POSITIONS) -> PaddingProbe | None:
    """Reconstruct flat images with both paddings, on the CPU in fp32; the VAE is not modified.

    Args:
        vae: of any family; only convolutional ones, KL and VQ, have a choice of padding.
        positions: size of the images in latent positions, 4 or more. The time is quadratic in the size.

    Returns:
        the result; None for half a VAE, or a family with only one padding.
    """
    if vae.encoder is None or vae.decoder is None or not padding_of(vae.config):
        return None
    exact = probe_inputs(vae)
    modes = [with_padding(exact, mode) for mode in PADDINGS]
    borders = most_likely_padding(*(border_error(mode, positions, MEASURED_COLORS[:1]) for mode in modes))
    if borders.ratio >= BEYOND_DOUBT:
        return borders
    return most_likely_padding(*(border_error(mode, positions, MEASURED_COLORS) for mode in modes))


def most_likely_padding(zeros: BorderError, reflect: BorderError) -> PaddingProbe:
    """Both errors with the verdict."""
    return PaddingProbe(judge_padding(zeros.border, reflect.border), zeros, reflect)


def judge_padding(zeros: float, reflect: float) -> str:
    """The padding with the clearly smaller border error; "unsure" if neither has, or for non-finite errors."""
    if zeros * CLEAR_RATIO < reflect:
        return ZEROS
    return REFLECT if reflect * CLEAR_RATIO < zeros else UNSURE


def with_padding(vae: VAE, padding: str) -> VAE:
    """The same weights, not copied, in networks with another padding."""
    family = family_with(vae.config)
    assert family is not None, "only networks of a known family have a padding"
    with torch.device("meta"):
        other = assemble(family, dataclasses.replace(vae.config, padding=padding), normalization=vae.normalization)
    other.load_state_dict(vae.state_dict(), strict=True, assign=True)
    return other.eval()


def border_error(vae: VAE, positions: int, colors: Sequence[Color]) -> BorderError:
    """The reconstruction error of flat images at the border and in the middle."""
    factor = vae.geometry.factors[0]
    side = positions * factor
    images = in_channels(flat_colors((side, side), colors), vae.geometry.channels)
    error = (vae.reconstruct(images) - images).abs() * 127.5
    distance = distance_to_border(side)
    return BorderError(
        border=error[..., distance < factor].mean().item(), inside=error[..., distance >= side // 4].mean().item()
    )


def distance_to_border(side: int) -> Tensor:
    """For each pixel of a square, the number of pixels between it and the nearest side."""
    along = torch.arange(side)
    nearest = torch.minimum(along, side - 1 - along)
    return torch.minimum(nearest[:, None], nearest)

"""Which padding a VAE was trained with, measured: zeros or reflection, the one under which its borders are right.

Weights do not tell it, and files seldom do. A network learns to undo what its padding does to the outermost positions;
under the other padding that correction is wrong, and plain images come back with a rim. So flat images go through
the VAE under both paddings, and the padding with the smaller error at the border is the true one. docs/measuring.md has
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
from vaekit.testcards.color import COLORS, Color, flat_colors
from vaekit.vae import VAE

UNSURE = "unsure"
POSITIONS = 16
"""Size of the flat images, in latent positions. Much smaller ones than a VAE was trained on show that, and not its
borders: at 8 positions the built-in VAE, trained at 16, gives no verdict."""
MEASURED_COLORS = COLORS[1::2]
"""Light gray, red and blue-green: half of the colors, for half of the time."""
CLEAR_RATIO = 1.5
"""How many times larger the border error of the wrong padding must be. docs/measuring.md has the ratios of real VAEs;
of random weights, which have no right padding, ratios up to 1.2 were seen."""
BEYOND_DOUBT = 3.0
"""From this ratio on the first color is enough."""


@dataclass(frozen=True)
class BorderError:
    """Mean absolute error of flat images that went through a VAE, in levels of 255."""

    border: float
    """In the outermost latent position: `factor` pixels along each side."""
    inside: float
    """In the middle half of the image."""


@dataclass(frozen=True)
class PaddingProbe:
    """What the borders of flat images say about a VAE's padding."""

    verdict: str
    """"zeros", "reflect" or "unsure"."""
    zeros: BorderError
    reflect: BorderError

    @property
    def ratio(self) -> float:
        """How many times larger the worse padding's border error is."""
        better, worse = sorted((self.zeros.border, self.reflect.border))
        return worse / max(better, 1e-6)

    @property
    def words(self) -> str:
        """Both measurements for a person, the smaller border error first."""
        both = sorted(((ZEROS, self.zeros), (REFLECT, self.reflect)), key=lambda each: each[1].border)
        return "; ".join(
            f"{name}: border error {error.border:.1f}/255 against {error.inside:.1f} inside" for name, error in both
        )


@torch.no_grad()
def probe_padding(vae: VAE, positions: int = POSITIONS) -> PaddingProbe | None:
    """Put flat images through a VAE under both paddings, on the CPU in fp32; the VAE is left as it is.

    Args:
        vae: of any family; only convolutional ones, KL and VQ, have a padding to find.
        positions: size of the images in latent positions, 4 or more. Twice the size takes four times as long.

    Returns:
        what was seen; None where there is nothing to see: half a VAE, or a family whose nets have one padding only.
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
    """The padding whose border error is clearly the smaller one; "unsure" where neither is, or they are no numbers."""
    if zeros * CLEAR_RATIO < reflect:
        return ZEROS
    return REFLECT if reflect * CLEAR_RATIO < zeros else UNSURE


def with_padding(vae: VAE, padding: str) -> VAE:
    """The same weights, not copied, in nets that pad in another way."""
    family = family_with(vae.config)
    assert family is not None, "only nets of a known family have a padding"
    with torch.device("meta"):
        other = assemble(family, dataclasses.replace(vae.config, padding=padding), normalization=vae.normalization)
    other.load_state_dict(vae.state_dict(), strict=True, assign=True)
    return other.eval()


def border_error(vae: VAE, positions: int, colors: Sequence[Color]) -> BorderError:
    """How far flat images are from themselves after a round trip, at the border and in the middle."""
    factor = vae.geometry.factors[0]
    side = positions * factor
    images = flat_colors((side, side), colors)
    error = (vae.reconstruct(images) - images).abs() * 127.5
    distance = distance_to_border(side)
    return BorderError(
        border=error[..., distance < factor].mean().item(), inside=error[..., distance >= side // 4].mean().item()
    )


def distance_to_border(side: int) -> Tensor:
    """For each pixel of a square, how many pixels are between it and the nearest side."""
    along = torch.arange(side)
    nearest = torch.minimum(along, side - 1 - along)
    return torch.minimum(nearest[:, None], nearest)

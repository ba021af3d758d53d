"""Measure which known latent space a VAE has, if shapes and metadata do not determine it.

Synthetic images are encoded. Three properties of the raw latents are compared with the known latent spaces
that the shapes allow: mean m_c and standard deviation s_c of each channel, and how well the space's own linear map
from latents to colors (the one behind fast previews) predicts the colors of the images, as a correlation r. For a
latent space with statistics mu_c, sigma_c over photographs:

    m_c ~ e^u N(mu_c, (0.5 sigma_c)^2)    ln s_c ~ N(ln sigma_c + u, 0.18^2)    u ~ N(0, 0.2^2), shared by all channels
    r ~ N(0.7, 0.25^2), where for any other latent space r ~ N(0, 0.3^2)

Two alternatives avoid false positives: a relative of a space, with its colors and the pattern of its statistics but
any scale (u ~ N(0, 1)), and an unknown space, with any statistics. Bayes' rule gives the probabilities.
The variances were measured between sets of photographs; docs/measuring.md has the values, a
table of results, and the limits.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from vaekit.catalog.entries import LatentSpace
from vaekit.distributions import DiagonalGaussian, Posterior
from vaekit.distributions.base import map_tensors
from vaekit.errors import BadItem, counted
from vaekit.shapes import Images
from vaekit.testcards.channels import in_channels
from vaekit.testcards.dead_leaves import dead_leaves
from vaekit.vae import VAE

IMAGES, SIDE, SEED = 8, 128, 0
"""The images of the probe: as accurate as four of 256x256 in half the time; see docs/measuring.md."""
EXACT_CHANCE, RELATIVE_CHANCE, UNKNOWN_CHANCE = 0.75, 0.15, 0.1
"""Prior probabilities (assumed): one of the candidates (uniformly), a relative of one, an unknown space."""
ENOUGH = 0.8
"""The minimum confidence to report the nearest latent space; below it, the result is unknown."""
MEAN_SPREAD, OWN_SPREAD, COMMON_SPREAD, ANY_SCALE = 0.5, 0.18, 0.2, 1.0
VAGUE_OWN_SPREAD, VAGUE_COMMON_SPREAD, VAGUE_OFFSET, ANY_VAGUE_SCALE = 0.4, 0.3, -0.1, 2.0
"""For a latent space with known scale and shift only: the spread between its channels, and the offset of their
geometric mean from the pooled standard deviation 1 / scale."""
COLOR_MATCH, COLOR_SPREAD, COLOR_CHANCE_SPREAD = 0.7, 0.25, 0.3


@dataclass(frozen=True)
class LatentProbe:
    """Statistics of the sampled raw latents of the built-in images."""

    mean: tuple[float, ...]
    """The mean of each channel."""
    std: tuple[float, ...]
    """The standard deviation of each channel: of the posterior's mean, and of sampling."""
    covariance: tuple[tuple[float, ...], ...] = ()
    """The covariance of the posterior's mean and RGB at the same position: (z + 3) x (z + 3). Empty if not measured."""

    @property
    def pooled_std(self) -> float:
        """The standard deviation over all channels, the inverse of LDM's scale."""
        mean, std = torch.tensor(self.mean).double(), torch.tensor(self.std).double()
        return (std.square().mean() + mean.var(correction=0)).sqrt().item()


@dataclass(frozen=True)
class SpaceVerdict:
    """The measured latent space, or none."""

    latent_space: LatentSpace | None
    """The nearest latent space, if the confidence is sufficient."""
    confidence: float
    """The posterior probability of the nearest latent space, with its scale, for prior probabilities of 0.75 for all
    candidates, 0.15 for relatives and 0.1 for unknown spaces. 0 if there was nothing to compare."""
    description: str
    """A description of the result."""


@torch.no_grad()
def probe_latents(vae: VAE) -> LatentProbe:
    """Encode the built-in images on the CPU in fp32; the VAE is not modified.

    Raises:
        HalfMissing: the VAE has no encoder.
        BadItem: it takes images with other than one, three or four channels.
    """
    exact = probe_inputs(vae)
    images = probe_images(vae)
    encoded = [exact.encode(image[None]) for image in images]
    return latents_probed(map_tensors(torch.cat, *encoded), images)


def latents_probed(posterior: Posterior, images: Images) -> LatentProbe:
    """The statistics of a posterior over the latents of images; the alpha channel of RGBA images is ignored.

    Args:
        posterior: over raw latents (n, z, i, j).
        images: (n, c, h, w).
    """
    means = posterior.mean.double()
    colors = F.adaptive_avg_pool2d(images[:, :3].double(), (means.shape[2], means.shape[3])).expand(-1, 3, -1, -1)
    values = torch.cat([means, colors], dim=1).transpose(0, 1).flatten(1)
    covariance = values.cov()
    variance = covariance.diagonal()[: means.shape[1]]
    if isinstance(posterior, DiagonalGaussian):
        variance = variance + posterior.std.double().square().mean(dim=(0, 2, 3))
    return LatentProbe(
        mean=tuple(values.mean(dim=1)[: means.shape[1]].tolist()),
        std=tuple(variance.sqrt().tolist()),
        covariance=tuple(map(tuple, covariance.tolist())),
    )


def probe_images(vae: VAE) -> Images:
    """The built-in images, in a size and with the channels that the VAE takes.

    Raises:
        BadItem: it takes neither grayscale nor color images nor RGBA.
    """
    vae.geometry.require_axes(2, "images")
    channels, factor = vae.geometry.channels, vae.geometry.factors[0]
    if channels not in (1, 3, 4):
        raise BadItem(
            f"This VAE takes images of {counted(channels, 'channel')}.",
            "There are built-in images with one (gray), three (RGB) and four channels (RGBA).",
            "Its latents cannot be measured; specify the normalization instead.",
        )
    side = factor * math.ceil(SIDE / factor)
    colored = dead_leaves(IMAGES, (side, side), Generator().manual_seed(SEED))
    return in_channels(colored, channels)


def probe_inputs(vae: VAE) -> VAE:
    """The VAE on the CPU, in fp32 and in evaluation mode; the same object where it is so already."""
    weights = [*vae.parameters(), *vae.buffers()]
    if not vae.training and all(w.device.type == "cpu" and w.dtype in (torch.float32, torch.int64) for w in weights):
        return vae
    return copy.deepcopy(vae).to("cpu", torch.float32).eval()


def nearest_latent_space(measured: LatentProbe, candidates: Sequence[LatentSpace]) -> SpaceVerdict:
    """The candidate with the most similar latents, with a confidence; there is no default.

    Candidates that share the weights of another (`same_weights_as`) cannot be distinguished and are left out; so are
    those with neither statistics nor a normalization.
    """
    if not all(math.isfinite(value) for value in (*measured.mean, *measured.std)):
        return SpaceVerdict(None, 0.0, "unknown: the latents are non-finite")
    if not min(measured.std) > 0:
        return SpaceVerdict(None, 0.0, "unknown: some latent channels are constant")
    unknown = f"unknown, measured scale 1/std = {1 / measured.pooled_std:.2g}"
    spaces = [space for space in candidates if not space.same_weights_as and is_comparable(space, measured)]
    if not spaces:
        return SpaceVerdict(None, 0.0, unknown)
    exact = [log_density(measured, space) + log_color_odds(measured, space) for space in spaces]
    relatives = [log_density(measured, space, any_scale=True) + log_color_odds(measured, space) for space in spaces]
    before = (
        [EXACT_CHANCE / len(spaces)] * len(spaces) + [RELATIVE_CHANCE / len(spaces)] * len(spaces) + [UNKNOWN_CHANCE]
    )
    evidence = torch.tensor([*exact, *relatives, log_density(measured, None)], dtype=torch.float64)
    chances = (evidence + torch.tensor(before, dtype=torch.float64).log()).softmax(dim=0).tolist()
    confidence, nearest = max(zip(chances[: len(spaces)], spaces, strict=True), key=lambda each: each[0])
    if confidence >= ENOUGH:
        known = f"std {measured.pooled_std:.2g}, nearest {nearest.name}{nominal(nearest)}"
        return SpaceVerdict(nearest, confidence, f"measured: {known}, confidence {min(confidence, 0.99):.2f}")
    likeness, relative = max(zip(chances[len(spaces) : -1], spaces, strict=True), key=lambda each: each[0])
    if likeness > max(confidence, chances[-1]):
        ratio = measured.pooled_std / expected_std(relative)
        return SpaceVerdict(None, confidence, f"{unknown}: like {relative.name}, at {ratio:.2g} times its std")
    return SpaceVerdict(None, confidence, f"{unknown} (nearest {nearest.name}, confidence {confidence:.2f})")


def nominal(space: LatentSpace) -> str:
    """The scale of a latent space that has one for all channels, as a fraction."""
    if space.normalization is None or len(space.normalization.scale) > 1:
        return ""
    return f" ({space.normalization.scale[0]:g} = 1/{1 / space.normalization.scale[0]:.3g})"


def is_comparable(space: LatentSpace, measured: LatentProbe) -> bool:
    """Whether statistics of a latent space are known, for the measured number of channels."""
    if space.latents is not None:
        return len(space.latents.mean) == len(space.latents.std) == len(measured.mean)
    return (
        space.normalization is not None
        and space.normalization.patch == 1
        and len(space.normalization.scale) == len(space.normalization.shift) == 1
    )


def expected_std(space: LatentSpace) -> float:
    """The pooled standard deviation of a latent space: over photographs if known, else from its scale."""
    if space.latents is not None:
        return LatentProbe(space.latents.mean, space.latents.std).pooled_std
    assert space.normalization is not None
    return 1 / abs(space.normalization.scale[0])


def log_density(measured: LatentProbe, space: LatentSpace | None, any_scale: bool = False) -> float:
    """ln p(means, log standard deviations | space), or | relative with any scale, or | unknown space for None."""
    mean, std = torch.tensor(measured.mean).double(), torch.tensor(measured.std).double()
    log_std = std.log()
    if space is not None and space.latents is not None:
        expected, typical = torch.tensor(space.latents.mean).double(), torch.tensor(space.latents.std).double()
        away = log_std - typical.log()
        ratio, common = away.mean().exp(), ANY_SCALE if any_scale else COMMON_SPREAD
        return normal(mean - ratio * expected, MEAN_SPREAD * ratio * typical) + shared(away, OWN_SPREAD, common)
    size = log_std.mean().exp().expand_as(mean)
    if space is not None and space.normalization is not None and not any_scale:
        away = log_std + math.log(abs(space.normalization.scale[0])) - VAGUE_OFFSET
        return normal(mean - space.normalization.shift[0], size) + shared(away, VAGUE_OWN_SPREAD, VAGUE_COMMON_SPREAD)
    return normal(mean, size) + shared(log_std, VAGUE_OWN_SPREAD, ANY_VAGUE_SCALE)


def log_color_odds(measured: LatentProbe, space: LatentSpace) -> float:
    """ln p(r | space) - ln p(r | any other) for the correlation r between images and the prediction of its map."""
    r = color_agreement(measured, space)
    if r is None:
        return 0.0
    match = torch.tensor([r - COLOR_MATCH]), torch.tensor([COLOR_SPREAD])
    return normal(*match) - normal(torch.tensor([r]), torch.tensor([COLOR_CHANCE_SPREAD]))


def color_agreement(measured: LatentProbe, space: LatentSpace) -> float | None:
    """The correlation, in -1..1, of the images' chroma with the chroma that a space's map predicts from latents.

    Chroma is a color minus its mean over red, green and blue: almost every latent space has a channel for brightness,
    but its encoding of color is specific. None if either is unknown.
    """
    if space.colors is None or len(space.colors) + 3 != len(measured.covariance):
        return None
    covariance = torch.tensor(measured.covariance).double()
    chroma = torch.eye(3).double() - 1 / 3
    predict = torch.cat([torch.tensor(space.colors).double() @ chroma, torch.zeros(3, 3).double()])
    observe = torch.cat([torch.zeros(len(space.colors), 3).double(), chroma])
    joint, predicted, actual = (
        (a.T @ covariance @ b).trace() for a, b in ((predict, observe), (predict, predict), (observe, observe))
    )
    return (joint / (predicted * actual).sqrt()).item() if predicted > 0 and actual > 0 else None


def normal(away: Tensor, spread: Tensor) -> float:
    """The log-density of independent normal variables."""
    return (-0.5 * (away / spread).square() - spread.log() - 0.5 * math.log(2 * math.pi)).sum().item()


def shared(away: Tensor, own: float, common: float) -> float:
    """The log-density of normal variables with an individual and a shared component.

    Their covariance is own^2 I + common^2 11'; its eigenvalue along the mean is own^2 + n common^2, else own^2.
    """
    count = len(away)
    along, across = own**2 + count * common**2, own**2
    squared = count * away.mean().square() / along + (away - away.mean()).square().sum() / across
    return -0.5 * (squared.item() + math.log(along) + (count - 1) * math.log(across) + count * math.log(2 * math.pi))

"""The distribution of latents that distances and densities refer to: that of data, the prior, or the normalization."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from vaekit.distributions import GaussianMixture, SampledPrior, StandardNormal
from vaekit.errors import BadPlan
from vaekit.normalization import LatentNormalization
from vaekit.tasks.batch import Progress, no_progress
from vaekit.tasks.encoded_data import encoded
from vaekit.tasks.model import OpenModel
from vaekit.training.seeds import generator_for
from vaekit.vae import denormalize

SAMPLES = 2000
"""Samples whose densities are sorted, and from which unknown means and standard deviations are estimated."""
FEWER, LARGE = 200, 2**15
"""The same for latents with more elements than this."""
AT_ONCE = 2**20
"""Elements of samples."""
LEAST_STD = 1e-6
"""Relative to the largest: smaller ones count as constant."""


@dataclass(frozen=True, eq=False)
class LatentReference:
    """A distribution of latents."""

    prior: SampledPrior
    name: str
    """A phrase: "N(0, I)"."""
    mean: Tensor
    """(z, ...)."""
    std: Tensor
    """(z, ...), positive."""
    gaussian: bool
    """Whether it is N(mean, std^2), independent per element."""

    def least_density(self, quantile: float, seed: int) -> float:
        """The log-density that a share of samples does not reach, in nats.

        Args:
            quantile: the share.
            seed: of the samples.
        """
        count = FEWER if self.mean.numel() > LARGE else SAMPLES
        return torch.quantile(self.prior.log_prob(samples(self.prior, self.mean, count, seed)), quantile).item()


def samples(prior: SampledPrior, like: Tensor, count: int, seed: int) -> Tensor:
    """Samples (n, z, ...) of latents with the shape of one (z, ...)."""
    at_once = max(1, AT_ONCE // like.numel())
    generator = generator_for(seed, "density", 0)
    parts = [min(at_once, count - start) for start in range(0, count, at_once)]
    return torch.cat([prior.sample(like.expand(part, *like.shape), generator) for part in parts])


def references(
    model: OpenModel, data: Path | None, seed: int = 0, progress: Progress = no_progress
) -> Callable[[tuple[int, ...]], LatentReference]:
    """What distances and densities of latents refer to: a function of their shape (z, ...).

    With data, a Gaussian with the mean and standard deviation of each channel of their latents. Else the prior that the
    VAE was trained with; but of latents that are maps, whose positions no prior describes, a Gaussian with the mean and
    standard deviation of the normalization, where it is known.

    Raises:
        BadPlan: the VAE has neither a prior that can be sampled, nor a normalization, and there are no data.
        NotFound, NoTrainingData, BadItem: the data cannot be read.
    """
    prior, normalization = model.engine.vae.prior, model.engine.vae.normalization
    if data is not None:
        return cache(partial(of_channels, *channel_statistics(model, data, progress)))
    if isinstance(prior, SampledPrior):
        own = cache(partial(of_prior, prior, seed))
        if normalization is None:
            return own
        normalized = cache(partial(of_normalization, normalization))
        return lambda shape: own(shape) if prod(shape[1:]) == 1 else normalized(shape)
    if normalization is not None:
        return cache(partial(of_normalization, normalization))
    raise BadPlan(
        "This VAE has no prior over continuous latents, and the standard deviation of its latents is unknown.",
        "Expected data whose latents show how far items are from each other.",
        "Name the data that it was trained on with --data.",
    )


def channel_statistics(model: OpenModel, data: Path, progress: Progress) -> tuple[Tensor, Tensor]:
    """The mean and standard deviation of each channel over the latents of data, (z)."""
    z, _ = encoded(model, data, progress=progress)
    values = z.double().transpose(0, 1).flatten(1)
    return values.mean(dim=1).float(), values.std(dim=1).float()


def of_channels(mean: Tensor, std: Tensor, shape: tuple[int, ...]) -> LatentReference:
    """A Gaussian that is the same at all positions."""
    column = (-1, *[1] * (len(shape) - 1))
    return gaussian(
        mean.view(column).expand(shape), std.view(column).expand(shape), "a Gaussian fitted to the latents of the data"
    )


def of_normalization(normalization: LatentNormalization, shape: tuple[int, ...]) -> LatentReference:
    """A Gaussian that the normalization maps to N(0, I)."""
    patch = normalization.patch
    grid = torch.zeros(1, shape[0] * patch**2, *(-(-side // patch) for side in shape[1:]))
    whole = tuple(slice(side) for side in shape)
    mean, one = (denormalize(each, normalization)[0][whole] for each in (grid, grid + 1))
    return gaussian(mean, (one - mean).abs(), "a Gaussian with the mean and standard deviation of its latents")


def gaussian(mean: Tensor, std: Tensor, name: str) -> LatentReference:
    """Independent Gaussians."""
    std = std.clamp(min=max(LEAST_STD * std.max().item(), torch.finfo(std.dtype).tiny))
    prior = GaussianMixture.even(mean[None].contiguous(), 2 * std[None].log())
    return LatentReference(prior, name, mean, std, gaussian=True)


def of_prior(prior: SampledPrior, seed: int, shape: tuple[int, ...]) -> LatentReference:
    """The prior of a VAE."""
    if isinstance(prior, StandardNormal):
        return LatentReference(prior, "N(0, I)", torch.zeros(shape), torch.ones(shape), gaussian=True)
    with torch.no_grad():
        drawn = samples(prior, torch.zeros(shape), SAMPLES, seed).double()
    std = drawn.std(dim=0).float()
    return LatentReference(
        prior,
        "the prior that the VAE was trained with",
        drawn.mean(dim=0).float(),
        std.clamp(min=max(LEAST_STD * std.max().item(), torch.finfo(std.dtype).tiny)),
        gaussian=False,
    )

"""Basic terms: likelihood, KL, and distances between items and reconstructions."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from vaekit.distributions import DiagonalGaussian, StandardNormal
from vaekit.errors import BadRecipe
from vaekit.shapes import PerItem
from vaekit.training.objectives import Pass, Term
from vaekit.training.weights import Weight


def nll() -> Term:
    """-log p(x|z) for one sample of z: the reconstruction part of the ELBO (Kingma & Welling 2014, arXiv 1312.6114)."""
    return Term(negative_log_likelihood, nats=True)


def negative_log_likelihood(forward: Pass) -> PerItem:
    """-log p(x|z), (b,)."""
    return -forward.likelihood.log_prob(forward.x)


def kl(free_nats: float = 0.0, groups: str = "all", capacity: Weight | None = None) -> Term:
    """KL(q(z|x) || p(z)).

    Args:
        free_nats: the minimum KL of a group of latent dimensions, as a mean over the batch: below it there is no
            gradient (Kingma et al. 2016, arXiv 1606.04934, appendix C.8). For groups other than "all", the posterior
            must be Gaussian and the prior N(0, 1).
        groups: the groups: "all" dimensions together, "channels", or "each" dimension separately.
        capacity: minimize |KL - capacity| instead (Burgess et al. 2018, arXiv 1804.03599, eq. 8): nats, constant or a
            function of the samples like a weight.

    Raises:
        ValueError: a setting is out of range, or both free_nats and capacity are given.
    """
    if groups not in GROUPS or free_nats < 0 or (capacity is not None and free_nats):
        raise ValueError(f"free_nats is {free_nats}, groups {groups!r}, capacity {capacity}; see {', '.join(GROUPS)}")
    if capacity is not None:
        return Term(partial(distance_from_capacity, capacity), nats=True, latents_only=True)
    if free_nats:
        return Term(partial(clamped_kl, free_nats, groups), nats=True, latents_only=True)
    return Term(posterior_kl, nats=True, latents_only=True)


def posterior_kl(forward: Pass) -> PerItem:
    """KL of the posterior from the prior, (b,)."""
    return forward.posterior.kl(forward.prior, forward.generator)


def distance_from_capacity(capacity: Weight, forward: Pass) -> PerItem:
    """|KL - capacity|, (b,)."""
    return (posterior_kl(forward) - capacity.at(forward.samples)).abs()


def clamped_kl(free_nats: float, groups: str, forward: Pass) -> Tensor:
    """The sum over groups of max(free_nats, mean KL over the batch), a scalar."""
    return GROUPS[groups](forward).mean(dim=0).clamp(min=free_nats).sum()


def elementwise_kl(forward: Pass) -> Tensor:
    """KL of each latent dimension, (b, ...).

    Raises:
        BadRecipe: posterior or prior have no closed form for single dimensions.
    """
    if not (isinstance(forward.posterior, DiagonalGaussian) and isinstance(forward.prior, StandardNormal)):
        raise BadRecipe(
            "Free nats for parts of a latent require a gaussian posterior and the prior N(0, 1).",
            f"This VAE has {type(forward.posterior).__name__} and {type(forward.prior).__name__}.",
            'Set groups = "all".',
        )
    return forward.posterior.elementwise_kl()


def channel_kl(forward: Pass) -> Tensor:
    """KL of each channel, (b, c)."""
    return elementwise_kl(forward).unsqueeze(-1).flatten(2).sum(dim=2)


def kl_of_each_dimension(forward: Pass) -> Tensor:
    """KL of each latent dimension, (b, d)."""
    return elementwise_kl(forward).flatten(1)


GROUPS: Mapping[str, Callable[[Pass], Tensor]] = {
    "all": posterior_kl,
    "channels": channel_kl,
    "each": kl_of_each_dimension,
}
"""Functions that return the KL of each group, (b, groups), or of all dimensions together, (b,)."""


def l1() -> Term:
    """Mean absolute error of the reconstruction."""
    return Term(absolute_error, nats=False)


def absolute_error(forward: Pass) -> PerItem:
    """Mean absolute error of each item, (b,)."""
    return item_means((forward.result - forward.x).abs())


def mse() -> Term:
    """Mean squared error of the reconstruction."""
    return Term(squared_error, nats=False)


def squared_error(forward: Pass) -> PerItem:
    """Mean squared error of each item, (b,)."""
    return item_means((forward.result - forward.x).square())


def item_means(values: Tensor) -> PerItem:
    """The mean over all values of each item: (b, ...) -> (b,)."""
    return values.flatten(1).mean(dim=1)


def lpips(network: Callable[[Tensor, Tensor], Tensor]) -> Term:
    """LPIPS between image and reconstruction (Zhang et al. 2018, arXiv 1801.03924), in fp32 under any autocast.

    Args:
        network: two batches (b, c, h, w) in [-1, 1] -> distances (b,); `metrics.image.lpips.LPIPS` for color images.
    """
    return Term(partial(perceptual_distance, network), nats=False)


def perceptual_distance(network: Callable[[Tensor, Tensor], Tensor], forward: Pass) -> PerItem:
    """The distance of each reconstruction from its image, (b,)."""
    with torch.autocast(forward.x.device.type, enabled=False):
        return network(forward.x.float(), forward.result.float())

"""Basic terms: likelihood, KL, and distances between items and reconstructions."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from vaekit.distributions import DiagonalGaussian, StandardNormal
from vaekit.errors import BadRecipe
from vaekit.shapes import PerItem
from vaekit.training.objectives import Pass, Term
from vaekit.training.weights import Weight


def nll() -> Term:
    """-log p(x|z) for one draw of z: the reconstruction part of the ELBO (Kingma & Welling 2014, arXiv 1312.6114)."""
    return Term(lambda seen: -seen.likelihood.log_prob(seen.x), nats=True)


def kl(free_nats: float = 0.0, groups: str = "all", capacity: Weight | None = None) -> Term:
    """KL(q(z|x) || p(z)).

    Args:
        free_nats: a group of latent numbers whose mean KL over the batch is below this costs no more than this (Kingma
            et al. 2016, arXiv 1606.04934, appendix C.8). Free nats for parts of a latent need a Gaussian posterior and
            the prior N(0, 1).
        groups: what these groups are: "all" numbers together, the "channels", or "each" number alone.
        capacity: |KL - capacity| instead (Burgess et al. 2018, arXiv 1804.03599, eq. 8): nats that may grow with the
            samples seen, told as weights are.
    """
    if groups not in GROUPS or free_nats < 0 or (capacity is not None and free_nats):
        raise ValueError(f"free_nats is {free_nats}, groups {groups!r}, capacity {capacity}; see {', '.join(GROUPS)}")

    def of(seen: Pass) -> Tensor:
        if capacity is not None:
            return (seen.posterior.kl(seen.prior, seen.generator) - capacity.at(seen.samples)).abs()
        if not free_nats:
            return seen.posterior.kl(seen.prior, seen.generator)
        return GROUPS[groups](seen).mean(dim=0).clamp(min=free_nats).sum()

    return Term(of, nats=True, of_latents=True)


def elementwise_kl(seen: Pass) -> Tensor:
    """KL of each number of each latent, (b, ...).

    Raises:
        BadRecipe: it is not told of single numbers.
    """
    if not (isinstance(seen.posterior, DiagonalGaussian) and isinstance(seen.prior, StandardNormal)):
        raise BadRecipe(
            "Free nats for parts of a latent require a gaussian posterior and the prior N(0, 1).",
            f"This VAE has {type(seen.posterior).__name__} and {type(seen.prior).__name__}.",
            'Set groups = "all".',
        )
    return seen.posterior.elementwise_kl()


GROUPS: Mapping[str, Callable[[Pass], Tensor]] = {
    "all": lambda seen: seen.posterior.kl(seen.prior, seen.generator),
    "channels": lambda seen: elementwise_kl(seen).unsqueeze(-1).flatten(2).sum(dim=2),
    "each": lambda seen: elementwise_kl(seen).flatten(1),
}
"""The KL of each item, for each group (b, groups) or for the only one (b,)."""


def l1() -> Term:
    """Mean absolute error of the result."""
    return Term(lambda seen: item_means((seen.result - seen.x).abs()), nats=False)


def mse() -> Term:
    """Mean squared error of the result."""
    return Term(lambda seen: item_means((seen.result - seen.x).square()), nats=False)


def item_means(values: Tensor) -> PerItem:
    """The mean over all numbers of each item (b, ...)."""
    return values.flatten(1).mean(dim=1)


def lpips(network: Callable[[Tensor, Tensor], Tensor]) -> Term:
    """LPIPS between the result and the image (Zhang et al. 2018, arXiv 1801.03924), in fp32 under any autocast.

    Args:
        network: two batches -> the distance of each pair; `metrics.lpips.LPIPS` for images in color.
    """

    def of(seen: Pass) -> PerItem:
        with torch.autocast(seen.x.device.type, enabled=False):
            return network(seen.x.float(), seen.result.float())

    return Term(of, nats=False)

"""The terms that objectives are made of, by the names that recipes call them.

Each entry makes a term from its settings; the defaults are the plain thing.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from vaekit.metrics.lpips import LPIPS
from vaekit.shapes import PerItem
from vaekit.training import terms_codes
from vaekit.training.objectives import Pass, Term


def nll() -> Term:
    """-log p(x|z) for one draw of z: the reconstruction part of the ELBO (Kingma & Welling 2014, arXiv 1312.6114)."""
    return Term(lambda seen: -seen.likelihood.log_prob(seen.x), nats=True)


def kl(free_nats: float = 0.0, capacity: float | None = None) -> Term:
    """KL(q(z|x) || p(z)).

    Args:
        free_nats: a mean KL below this costs no more than this (Kingma et al. 2016, arXiv 1606.04934, with one group).
        capacity: |KL - capacity| instead (Burgess et al. 2018, arXiv 1804.03599, eq. 8).
    """

    def of(seen: Pass) -> Tensor:
        cost = seen.posterior.kl(seen.prior, seen.generator)
        if capacity is not None:
            return (cost - capacity).abs()
        return cost.mean().clamp(min=free_nats) if free_nats else cost

    return Term(of, nats=True, of_latents=True)


def l1() -> Term:
    """Mean absolute error of the result."""
    return Term(lambda seen: (seen.result - seen.x).abs().flatten(1).mean(dim=1), nats=False)


def mse() -> Term:
    """Mean squared error of the result."""
    return Term(lambda seen: mean_squares(seen.result - seen.x), nats=False)


def mean_squares(error: Tensor) -> PerItem:
    """Of each item."""
    return error.square().flatten(1).mean(dim=1)


def lpips(network: LPIPS) -> Term:
    """LPIPS between the result and the picture (Zhang et al. 2018, arXiv 1801.03924), in fp32 under any autocast."""

    def of(seen: Pass) -> PerItem:
        with torch.autocast(seen.x.device.type, enabled=False):
            return network(seen.x.float(), seen.result.float())

    return Term(of, nats=False)


TERMS: Mapping[str, Callable[..., Term]] = {
    "nll": nll,
    "kl": kl,
    "l1": l1,
    "mse": mse,
    "lpips": lpips,
    "commitment": terms_codes.commitment,
    "codebook": terms_codes.codebook,
    "entropy": terms_codes.entropy,
}

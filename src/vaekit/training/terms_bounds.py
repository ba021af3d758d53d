"""Bounds of the evidence that are tighter than the ELBO."""

import math

from torch import Tensor

from vaekit.distributions.base import map_tensors
from vaekit.shapes import PerItem
from vaekit.training.objectives import Pass, Term


def iwae(k: int = 5) -> Term:
    """-log 1/k sum_k p(x, z_k) / q(z_k|x), from k draws for each item (Burda et al. 2016, arXiv 1509.00519, eq. 8).

    All k b draws go through the decoder at once; the encoder sees each item once. With k = 1 it is the negative ELBO.

    Raises:
        ValueError: k is no number of draws.
    """
    if k < 1:
        raise ValueError(f"k is {k}, and one draw is the least")

    def of(seen: Pass) -> PerItem:
        posterior = map_tensors(lambda tensors: repeated(tensors[0], k), seen.posterior)
        z = posterior.sample(seen.generator)
        log_weights = seen.vae.likelihood(z).log_prob(repeated(seen.x, k)) + seen.prior.log_prob(z)
        log_weights = log_weights - posterior.log_prob(z)
        return math.log(k) - log_weights.unflatten(0, (k, -1)).logsumexp(dim=0)

    return Term(of, nats=True)


def repeated(x: Tensor, k: int) -> Tensor:
    """A batch (b, ...) k times, one copy after the other: (k b, ...)."""
    return x.expand(k, *x.shape).flatten(0, 1)

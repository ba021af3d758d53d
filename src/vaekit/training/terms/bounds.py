"""Bounds of the log-evidence that are tighter than the ELBO."""

import math
from functools import partial

import torch

from vaekit.distributions.base import map_tensors
from vaekit.runtime.draws import draws_per_call, repeated
from vaekit.shapes import PerItem
from vaekit.training.objectives import Pass, Term


def iwae(k: int = 5) -> Term:
    """-log 1/k sum_k p(x, z_k) / q(z_k|x), with k samples for each item (Burda et al. 2016, arXiv 1509.00519, eq. 8).

    The encoder runs once for each item; the decoder runs on as many samples at once as is fastest. With k = 1 it is
    the negative ELBO.

    Raises:
        ValueError: k is less than 1.
    """
    if k < 1:
        raise ValueError(f"k is {k}, but must be at least 1")
    return Term(partial(importance_weighted_bound, k), nats=True)


def importance_weighted_bound(k: int, forward: Pass) -> PerItem:
    """The negative bound of each item in nats, (b,)."""
    posterior = map_tensors(lambda tensors: repeated(tensors[0], k), forward.posterior)
    z = posterior.sample(forward.generator)
    draws = draws_per_call(k, forward.x)
    log_likelihoods = [
        forward.vae.likelihood(part).log_prob(repeated(forward.x, len(part) // len(forward.x)))
        for part in z.split(draws * len(forward.x))
    ]
    log_weights = torch.cat(log_likelihoods) + forward.prior.log_prob(z) - posterior.log_prob(z)
    return math.log(k) - log_weights.unflatten(0, (k, -1)).logsumexp(dim=0)

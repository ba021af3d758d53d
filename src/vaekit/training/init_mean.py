"""Initialize a decoder so that it outputs the mean of the data for every latent.

From random weights a decoder first spends hundreds of steps on what all items have in common. Its last bias can begin
there (as Mnih & Gregor 2014, arXiv 1402.0030, section 3, center their data). On binarized MNIST the nets of
bench/training.py are 5 nats better after one epoch, 2 after three.
"""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from vaekit.distributions import Bernoulli, Laplace, Likelihood, Normal, SignedBernoulli
from vaekit.vae import VAE

LEAST = 0.01
"""Chances begin no nearer to 0 and 1 than this: a pixel that was never white may be."""


@runtime_checkable
class HasInitialMean(Protocol):
    """A decoder whose last bias can be set."""

    def say_at_first(self, parameters: Tensor) -> None:
        """Output approximately this (c, ...) for every latent."""


@torch.no_grad()
def init_to_mean(vae: VAE, items: Tensor) -> bool:
    """Initialize the decoder with the mean of items (b, ...); False, without changes, if this is not supported."""
    decoder: object = vae.decoder
    if not isinstance(decoder, HasInitialMean):
        return False
    said = parameters_for_mean(vae.likelihood(vae.encode(items[:1]).mode), items.mean(dim=0))
    if said is None:
        return False
    decoder.say_at_first(said)
    return True


def parameters_for_mean(likelihood: Likelihood, mean: Tensor) -> Tensor | None:
    """The parameters for which a likelihood of this type has this mean; None for other types."""
    if isinstance(likelihood, SignedBernoulli):
        return torch.logit((mean + 1) / 2, eps=LEAST)
    if isinstance(likelihood, Bernoulli):
        return torch.logit(mean, eps=LEAST)
    return mean if isinstance(likelihood, Normal | Laplace) else None

"""A Gaussian mixture fitted to latents of data: a prior for VAEs whose own does not match them.

Fitting a density to the latents of a trained autoencoder is the "ex-post density estimation" of Ghosh et al. 2020
(arXiv 1903.12436, section 4.2), which improves the samples of nearly every VAE.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor

from vaekit.optional import require
from vaekit.shapes import PerItem

COMPONENTS = (1, 2, 4, 8, 16, 32)
"""Candidates for the number of components, of which the likelihood of held-out latents chooses."""
SEEDS = 2**32
"""The number of seeds that scikit-learn takes."""
HELD_OUT = 10
"""One in this many latents is held out."""
LEAST_PER_COMPONENT = 20
"""The minimum number of latents per component."""
FLOOR = 1e-6
"""Added to the variances."""


@dataclass(frozen=True, eq=False)
class FittedMixture:
    """p(z) = sum_k w_k N(mean_k, L_k L_k^T) over flattened latents; see `vaekit.distributions.SampledPrior`."""

    weights: Float[Tensor, "k"]
    means: Float[Tensor, "k d"]
    factors: Float[Tensor, "k d d"]
    """Lower triangular, the Cholesky factors L_k of the covariances."""

    def log_prob(self, z: Tensor) -> PerItem:
        """log p(z) in nats."""
        shifted = z.flatten(1).unsqueeze(1) - self.means  # (b, k, d)
        white = torch.linalg.solve_triangular(self.factors, shifted.unsqueeze(3), upper=False).squeeze(3)
        log_scale = self.factors.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        constant = 0.5 * self.means.shape[1] * math.log(2 * math.pi)
        return torch.logsumexp(self.weights.log() - log_scale - constant - 0.5 * white.square().sum(dim=2), dim=1)

    def sample(self, like: Tensor, generator: Generator | None = None) -> Tensor:
        """Samples with the shape (b, ...), dtype and device of `like`."""
        chosen = torch.multinomial(self.weights, len(like), replacement=True, generator=generator)
        noise = torch.randn(len(like), self.means.shape[1], 1, generator=generator)
        z = self.means[chosen] + (self.factors[chosen] @ noise).squeeze(2)
        return z.view(like.shape).to(like)


def fit_mixture(z: Float[Tensor, "n d"], seed: int = 0) -> FittedMixture:
    """Fit a mixture with full covariances by expectation-maximization (scikit-learn). The number of components is the
    one with the highest mean log-likelihood of held-out latents.

    Args:
        z: latents, one row per item.
        seed: of the initialization and of the choice of held-out latents. Any integer; its lowest 32 bits are used.

    Raises:
        MissingPackage: scikit-learn is not installed.
        ValueError: there are fewer than two latents.
    """
    mixture = require("sklearn.mixture", "fit a prior to latents", "analysis")
    seed %= SEEDS
    values = z.double().numpy()
    if len(values) < HELD_OUT * LEAST_PER_COMPONENT:
        kept = held_out = values
    else:
        values = values[np.random.default_rng(seed).permutation(len(values))]
        kept, held_out = values[len(values) // HELD_OUT :], values[: len(values) // HELD_OUT]
    distinct = len(np.unique(kept, axis=0))  # constant data have fewer than the components
    fits = [
        mixture.GaussianMixture(count, reg_covar=FLOOR, random_state=seed).fit(kept)
        for count in COMPONENTS
        if count == 1 or (len(kept) >= LEAST_PER_COMPONENT * count and distinct >= count)
    ]
    best = max(fits, key=lambda fit: fit.score(held_out))
    weights, means, covariances = (
        torch.from_numpy(each).float() for each in (best.weights_, best.means_, np.linalg.cholesky(best.covariances_))
    )
    return FittedMixture(weights, means, covariances)

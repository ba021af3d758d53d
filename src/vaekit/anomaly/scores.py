"""Scores of single items from a VAE's two halves: log-likelihood, ELBO, and the two parts of it.

    likelihood       log p(x) by importance weighting of K latents z_k of q(z|x) (Burda et al. 2016, arXiv 1509.00519,
                     eq. 8): log 1/K sum_k w_k,  w_k = p(x|z_k) p(z_k) / q(z_k|x)
    elbo             mean_k log p(x|z_k) - KL(q(z|x) || p(z))
    reconstruction   mean_k log p(x|z_k)
    kl               -KL(q(z|x) || p(z))
    local            the least probable places of an image, see `local.py`
    per-token        the likelihood (without a prior, the reconstruction) of a sequence, divided by the number of its
                     tokens with the end: each token costs some nats, and a long sequence is not an anomaly

All are in nats, and higher for more normal items. The latents of a Gaussian posterior are mean + standard deviation *
e_k, with values e_k that are the same for all items: scores are deterministic, and independent of other items and of
their order. Of other posteriors, the mode is the only one.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Generator, Tensor

from vaekit.anomaly.draws import normal_draws
from vaekit.anomaly.local import LOCAL, POSITIONS, local_score
from vaekit.distributions import DiagonalGaussian, Likelihood, Posterior, Prior, StandardNormal
from vaekit.distributions.base import map_tensors, sum_items
from vaekit.distributions.sequences import before_padding
from vaekit.errors import NoPrior
from vaekit.runtime.draws import draws_per_call, repeated
from vaekit.shapes import PerItem

LIKELIHOOD, ELBO, RECONSTRUCTION, KL = "likelihood", "elbo", "reconstruction", "kl"
PER_TOKEN = "per-token"
OWN_SCORES = (LIKELIHOOD, ELBO, RECONSTRUCTION, KL)
"""Scores of an item of any kind by itself; others compare it with reference items."""
DRAWS = 64
ROWS = 256
"""Rows that are computed together: with 64 latents each, twice as fast on a CPU as 4,096 rows, whose activations leave
its cache."""


@runtime_checkable
class Halves(Protocol):
    """Runs the halves of a VAE."""

    def encode(self, x: Tensor) -> Posterior:
        """q(z|x) for a batch of items."""

    def likelihood(self, z: Tensor, like: Tensor) -> Likelihood:
        """p(x|z) for raw latents; `like` are items, whose shape x has."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a VAE computes about a batch of items."""

    latents: Tensor
    """The means of the posteriors, flattened: (b, d)."""
    scores: dict[str, Tensor]
    """(b,), in double precision, by name. Without a prior only the reconstruction; `local` for images whose likelihood
    has factors."""
    factors: Tensor | None = None
    """-log p(x_i|z) of each element, averaged over latents with their importance weights, (b, ...); None if they were
    not requested, or the likelihood has no factors."""

    def __len__(self) -> int:
        return len(self.latents)


@dataclass(frozen=True, eq=False)
class Scorer:
    """Computes the scores of items."""

    halves: Halves
    prior: Prior | None
    """p(z); None for a plain autoencoder."""
    draws: int = DRAWS
    """The number K of latents for each item."""
    seed: int = 0
    """Of the latents."""
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32
    """Items are converted to it, unless they are tokens. In double precision the scores of rows do not depend on the
    size of a batch."""
    together: int = 1
    """Images that are computed together. With more than one, scores depend on the others, by rounding, and small images
    take a fraction of the time."""

    @torch.no_grad()
    def latents(self, x: Tensor) -> Tensor:
        """The means of the posteriors of items (b, ...), flattened: (b, d)."""
        return torch.cat([flat_mean(self.halves.encode(part)) for part in parts_of(self.prepared(x), self.together)])

    @torch.no_grad()
    def evidence(self, x: Tensor, factors: bool = False) -> Evidence:
        """The scores of items.

        Args:
            x: items (b, ...). Missing values of rows are NaN.
            factors: also compute the factors of the likelihood.

        Raises:
            HalfMissing: the VAE lacks a half.
            BadItem: it does not take these items.
        """
        every = [self._evidence(part, factors) for part in parts_of(self.prepared(x), self.together)]
        if len(every) == 1:
            return every[0]
        found = [each.factors for each in every if each.factors is not None]
        return Evidence(
            torch.cat([each.latents for each in every]),
            {name: torch.cat([each.scores[name] for each in every]) for name in every[0].scores},
            torch.cat(found) if found else None,
        )

    def prepared(self, x: Tensor) -> Tensor:
        """Items on the device and in the precision of the scores."""
        return x.to(self.device, self.dtype if x.is_floating_point() else x.dtype)

    def _evidence(self, x: Tensor, factors: bool) -> Evidence:
        posterior = self.halves.encode(x)
        totals = Totals(factors or x.dim() == POSITIONS)
        log_p, log_q = [], []
        for z, log_probability in self._latents_of(posterior, x):
            k = len(z) // len(x)
            weights = torch.zeros(k, len(x), dtype=torch.float64)
            if self.prior is not None:
                log_p.append(self.prior.log_prob(z).double().cpu().unflatten(0, (k, -1)))
                log_q.append(log_probability.double().cpu())
                weights = log_p[-1] - log_q[-1]
            totals.add(self.halves.likelihood(z, x), repeated(x, k), weights)
        latents, scores = flat_mean(posterior), {RECONSTRUCTION: totals.reconstruction}
        if self.prior is not None:
            divergence = self._divergence(posterior, torch.cat(log_q), torch.cat(log_p))
            scores |= {LIKELIHOOD: totals.likelihood, ELBO: totals.reconstruction - divergence, KL: -divergence}
        if not x.is_floating_point():
            scores[PER_TOKEN] = scores.get(LIKELIHOOD, scores[RECONSTRUCTION]) / before_padding(x).sum(dim=1).cpu()
        found = totals.factors
        if found is not None and x.dim() == POSITIONS:
            scores[LOCAL] = local_score(found)
        return Evidence(latents, scores, found if factors else None)

    def _latents_of(self, posterior: Posterior, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Latents (k b, z, ...), k for each item, as many as the decoder takes at once, and their log q (k, b)."""
        if not isinstance(posterior, DiagonalGaussian):
            yield posterior.mode, posterior.log_prob(posterior.mode).unsqueeze(0)
            return
        mean, std = posterior.mean, posterior.std
        shape = mean.shape[1:]
        constant = sum_items(posterior.log_variance + math.log(2 * math.pi))
        together = draws_per_call(self.draws, x)
        for noise in normal_draws(self.draws, shape.numel(), self.seed).split(together):
            z = mean + std * noise.to(mean).view(-1, 1, *shape)
            yield z.flatten(0, 1), -0.5 * (noise.square().sum(dim=1, keepdim=True).to(mean) + constant)

    def _divergence(self, posterior: Posterior, log_q: Tensor, log_p: Tensor) -> PerItem:
        """KL(q || p): in closed form, or from the latents (k, b)."""
        if not isinstance(posterior, DiagonalGaussian):
            # One by one, so that an estimate does not depend on the other items.
            each = (map_tensors(lambda t, i=i: t[0][i : i + 1], posterior) for i in range(log_q.shape[1]))  # type: ignore[misc]
            assert self.prior is not None
            divergences = [one.kl(self.prior, Generator().manual_seed(self.seed)) for one in each]
            return torch.cat(divergences).double().cpu()
        if isinstance(self.prior, StandardNormal):
            return posterior.kl(self.prior).double().cpu()
        return (log_q - log_p).mean(dim=0)


class Totals:
    """Averages over the latents of items, in one pass.

    Args:
        with_factors: also average the factors of the likelihood.
    """

    def __init__(self, with_factors: bool) -> None:
        self.with_factors = with_factors
        self.count = 0
        self.largest = torch.tensor(-torch.inf, dtype=torch.float64)
        self.weights = torch.zeros((), dtype=torch.float64)
        """The sum of the importance weights, divided by exp(largest)."""
        self.log_likelihoods = torch.zeros((), dtype=torch.float64)
        self.weighted: Tensor | None = None
        """The weighted sum of the factors, (b, ...)."""
        self.factor_weights = torch.zeros(())
        """The sum of their weights, (b,)."""

    def add(self, likelihood: Likelihood, x: Tensor, log_ratio: Tensor) -> None:
        """Add latents: p(x|z) of items (k b, ...), and log p(z) - log q(z|x), (k, b)."""
        # Not isinstance, which may evaluate `mode`: for sequences, token by token.
        compute = getattr(likelihood, "log_factors", None)
        factors: Tensor | None = None if compute is None else compute(x)
        each = likelihood.log_prob(x) if factors is None else factors.flatten(1).sum(dim=1, dtype=torch.float64)
        values = each.double().cpu().unflatten(0, log_ratio.shape)
        log_weights = values + log_ratio
        self.count += len(values)
        self.log_likelihoods = self.log_likelihoods + values.sum(dim=0)
        largest = torch.maximum(self.largest, log_weights.max(dim=0).values)
        impossible = largest == -torch.inf
        reference = largest.masked_fill(impossible, 0)
        rescaled = (self.largest - reference).exp()
        weights = (log_weights - reference).exp()
        self.largest, self.weights = largest, self.weights * rescaled + weights.sum(dim=0)
        if factors is not None and self.with_factors:
            # The reasons why an item is impossible for all latents are of interest, too.
            weights = weights.masked_fill(impossible, torch.finfo(torch.float32).tiny)
            self._add_factors(factors.unflatten(0, log_ratio.shape), weights, rescaled)

    def _add_factors(self, factors: Tensor, weights: Tensor, rescaled: Tensor) -> None:
        """Add factors (k, b, ...) with weights (k, b), after multiplying the sums so far (b, ...)."""
        axes = [1] * (factors.dim() - 2)
        own = weights.to(factors).view(*weights.shape, *axes)
        # Without the infinite factors of latents whose weight is zero.
        weighted = (factors * own).masked_fill(own == 0, 0).sum(dim=0)
        total = weights.sum(dim=0).to(factors)
        if self.weighted is not None:
            before = rescaled.to(factors)
            weighted += (self.weighted * before.view(-1, *axes)).masked_fill(before.view(-1, *axes) == 0, 0)
            total += self.factor_weights * before
        self.weighted, self.factor_weights = weighted, total

    @property
    def likelihood(self) -> PerItem:
        """log of the mean importance weight."""
        return self.largest + self.weights.log() - math.log(self.count)

    @property
    def reconstruction(self) -> PerItem:
        """The mean log-likelihood given a latent."""
        return self.log_likelihoods / self.count

    @property
    def factors(self) -> Tensor | None:
        """The weighted mean of -log p(x_i|z)."""
        if self.weighted is None:
            return None
        return -self.weighted / self.factor_weights.view(-1, *[1] * (self.weighted.dim() - 1))


def flat_mean(posterior: Posterior) -> Tensor:
    """The mean (b, d) on the CPU, in single precision at least."""
    mean = posterior.mean.flatten(1)
    return mean.to("cpu", torch.promote_types(mean.dtype, torch.float32))


def parts_of(x: Tensor, together: int = 1, rows: int = ROWS) -> tuple[Tensor, ...]:
    """Items that are computed together: some rows, or items with positions, by default single ones, whose results would
    otherwise depend on the size of the batch: convolutions round differently."""
    return x.split(rows if x.dim() <= 2 else together)


def check_has_prior(score: str, prior: Prior | None) -> None:
    """Check that a score exists for a VAE.

    Raises:
        NoPrior: it needs a prior, which a plain autoencoder lacks.
    """
    if prior is None and score in (LIKELIHOOD, ELBO, KL):
        raise NoPrior(
            f"The encoder of this VAE gives a point and no distribution, so that there is no score {score}.",
            "Expected a VAE with a prior.",
            "Use the score reconstruction, or mahalanobis or neighbors with reference data.",
        )

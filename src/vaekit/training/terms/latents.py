"""Terms on the latents of a whole batch: mutual information, total correlation, and distance to the prior.

The average KL divergence is the sum of three parts (Chen et al. 2018, arXiv 1802.04942, eq. 2):

    E KL(q(z|x) || p(z)) = I(z; x) + KL(q(z) || prod_j q(z_j)) + sum_j KL(q(z_j) || p(z_j))

The aggregate posterior q(z) is estimated from the batch; all terms use the same samples. With weights of 1 the three
sum up to log q(z|x) - log p(z), up to rounding. A beta-TCVAE has a weight of beta for the second.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from vaekit.distributions import DiagonalGaussian, SampledPrior
from vaekit.errors import BadRecipe
from vaekit.shapes import PerItem
from vaekit.training.objectives import Pass, Term

ESTIMATES = ("weighted", "stratified")


@dataclass(frozen=True)
class Aggregate:
    """Log-densities of the samples of a batch, each (b,)."""

    conditional: PerItem
    """log q(z|x)."""
    joint: PerItem
    """log q(z)."""
    factorized: PerItem
    """sum_j log q(z_j)."""


def aggregate(forward: Pass, items: int, estimate: str) -> Aggregate:
    """Estimate q(z) from a batch. Takes memory for b^2 d values, for latents of d values.

    Args:
        forward: a pass of at least two items, with a Gaussian posterior.
        items: the size of the data set.
        estimate: "weighted" or "stratified" minibatch sampling (arXiv 1802.04942, appendices C.1 and C.2).

    Raises:
        BadRecipe: the posterior is not Gaussian, or the data set is smaller than the batch.
    """
    posterior = forward.posterior
    if not isinstance(posterior, DiagonalGaussian):
        raise BadRecipe(
            f"mutual_information and total_correlation are not available for a {type(posterior).__name__} posterior.",
            "They require a gaussian posterior.",
            "",
        )
    z, mean, log_variance = (t.flatten(1) for t in (forward.z, posterior.mean, posterior.log_variance))
    squares = (z.unsqueeze(1) - mean).square() * torch.exp(-log_variance)
    pairs = -0.5 * (squares + log_variance + math.log(2 * math.pi))  # (sample, item, latent dimension)
    joint = pairs.sum(dim=2)
    log_weights = pair_weights(len(z), items, estimate).log().to(z)
    return Aggregate(
        joint.diagonal(),
        torch.logsumexp(joint + log_weights, dim=1),
        torch.logsumexp(pairs + log_weights.unsqueeze(2), dim=1).sum(dim=1),
    )


def pair_weights(batch: int, items: int, estimate: str) -> Tensor:
    """The weight of each item (column) in the density at each sample (row): (b, b), in double precision.

    Weighted: 1 / (N b) each; if the batch is the whole data set, too small by a factor of N. Stratified: 1 / N for the
    item that the sample came from, and (N - 1) / (N M) for each of the M other items, which represent the rest of the
    data set. Eq. S6 of the paper gives one of the others a lower weight, with the same mean and a higher variance.

    Raises:
        BadRecipe: the data set has fewer items than the batch.
    """
    if items < batch:
        raise BadRecipe(f"The setting items is {items}, but a batch has {batch} items.", "", "Set items.")
    if estimate == "weighted":
        return torch.full((batch, batch), 1 / (items * batch), dtype=torch.float64)
    weights = torch.full((batch, batch), (items - 1) / (items * (batch - 1)), dtype=torch.float64)
    return weights.fill_diagonal_(1 / items)


def aggregate_term(items: int, estimate: str, compute: Callable[[Pass, Aggregate], PerItem]) -> Term:
    """A term that is a function of q(z).

    Raises:
        ValueError: a setting is out of range.
    """
    if items < 2 or estimate not in ESTIMATES:
        raise ValueError(f"items is {items} and estimate {estimate!r}; expected the data set's size, {ESTIMATES}")
    function = partial(with_aggregate, items, estimate, compute)
    return Term(function, nats=True, latents_only=True, min_items=2)


def with_aggregate(items: int, estimate: str, compute: Callable[[Pass, Aggregate], PerItem], forward: Pass) -> PerItem:
    """A function of a pass and its q(z), which is computed once for all terms with equal settings."""
    return compute(forward, forward.once(aggregate, items, estimate))


def mutual_information(items: int, estimate: str = "stratified") -> Term:
    """I(z; x) = E log q(z|x) - log q(z). See `aggregate` for the settings."""
    return aggregate_term(items, estimate, information_of_items)


def information_of_items(_: Pass, q: Aggregate) -> PerItem:
    """log q(z|x) - log q(z), (b,)."""
    return q.conditional - q.joint


def total_correlation(items: int, estimate: str = "stratified") -> Term:
    """KL(q(z) || prod_j q(z_j)): the dependence between latent dimensions. See `aggregate` for the settings.

    The estimate of log q(z) is biased downwards, and more so the less the posteriors of a batch overlap, which is less
    in all dimensions together than in a single one. So the estimate may be negative, unlike the divergence; it is used
    for its gradient.
    """
    return aggregate_term(items, estimate, dependence_of_dimensions)


def dependence_of_dimensions(_: Pass, q: Aggregate) -> PerItem:
    """log q(z) - sum_j log q(z_j), (b,)."""
    return q.joint - q.factorized


def dimension_kl(items: int, estimate: str = "stratified") -> Term:
    """sum_j KL(q(z_j) || p(z_j)): the distance of each latent dimension from the prior."""
    return aggregate_term(items, estimate, distance_of_dimensions)


def distance_of_dimensions(forward: Pass, q: Aggregate) -> PerItem:
    """sum_j log q(z_j) - log p(z), (b,)."""
    return q.factorized - forward.prior.log_prob(forward.z)


def inverse_multiquadric(squares: Tensor) -> Tensor:
    """1 / (1 + d^2)."""
    return 1 / (1 + squares)


def gaussian(squares: Tensor) -> Tensor:
    """exp(-d^2)."""
    return torch.exp(-squares)


KERNELS: dict[str, Callable[[Tensor], Tensor]] = {"imq": inverse_multiquadric, "rbf": gaussian}
"""Kernels as functions of the squared distance in units of the scale."""
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def mmd(kernel: str = "imq", scales: Sequence[float] = SCALES) -> Term:
    """Squared maximum mean discrepancy between the latents of a batch and as many samples of the prior, unbiased.

    InfoVAE (Zhao et al. 2017, arXiv 1706.02262, section 3) and Wasserstein autoencoders (Tolstikhin et al. 2018, arXiv
    1711.01558, algorithm 2) use it in addition to the KL or instead of it. The kernel is the sum over scales s of
    C / (C + |a - b|^2) or exp(-|a - b|^2 / C), with C = 2 d s for latents of d values: s times the expectation of
    |a - b|^2 under N(0, 1).

    Args:
        kernel: "imq" or "rbf".
        scales: the scales s.

    Raises:
        ValueError: a setting is out of range.
    """
    if kernel not in KERNELS or not scales or min(scales) <= 0:
        raise ValueError(f"kernel is {kernel!r} and scales {scales}; expected imq or rbf, and positive scales")

    return Term(partial(prior_discrepancy, kernel, tuple(scales)), nats=False, latents_only=True, min_items=2)


def prior_discrepancy(kernel: str, scales: Sequence[float], forward: Pass) -> Tensor:
    """The squared discrepancy of a batch, a scalar, in fp32 under any autocast.

    Raises:
        BadRecipe: the prior cannot be sampled.
    """
    if not isinstance(forward.prior, SampledPrior):
        raise BadRecipe(f"mmd needs a prior that can be sampled; {type(forward.prior).__name__} cannot.", "", "")
    prior_samples = forward.prior.sample(forward.z, forward.generator)
    with torch.autocast(forward.z.device.type, enabled=False):
        z, samples = (each.float().flatten(1) for each in (forward.z, prior_samples))
        return squared_discrepancy(z, samples, KERNELS[kernel], scales)


def squared_discrepancy(a: Tensor, b: Tensor, kernel: Callable[[Tensor], Tensor], scales: Sequence[float]) -> Tensor:
    """The unbiased estimate between two sets of n vectors each, (n, d) (Gretton et al. 2012, JMLR 13, eq. 3)."""
    n, d = a.shape
    both = torch.cat([a, b])
    lengths = both.square().sum(dim=1)
    squares = (lengths.unsqueeze(1) + lengths - 2 * both @ both.T).clamp_min(0)
    similar = torch.stack([kernel(squares / (2 * d * scale)) for scale in scales]).sum(dim=0)
    # The unbiased means within a set exclude the diagonal.
    within = [(block.sum() - block.diagonal().sum()) / (n * (n - 1)) for block in (similar[:n, :n], similar[n:, n:])]
    return within[0] + within[1] - 2 * similar[:n, n:].mean()

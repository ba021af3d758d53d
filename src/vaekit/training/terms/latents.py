"""Terms about the latents of a whole batch: mutual information, total correlation, and distance to the prior.

The average KL divergence falls into three parts (Chen et al. 2018, arXiv 1802.04942, eq. 2):

    E KL(q(z|x) || p(z)) = I(z; x) + KL(q(z) || prod_j q(z_j)) + sum_j KL(q(z_j) || p(z_j))

The density q(z) of latents over all data is estimated from the batch, in which each term looks at the same draws. With
weights of 1 the three are log q(z|x) - log p(z), to rounding. A beta-TCVAE weighs the middle one with beta.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vaekit.distributions import DiagonalGaussian, SampledPrior
from vaekit.errors import BadRecipe
from vaekit.shapes import PerItem
from vaekit.training.objectives import Pass, Term

ESTIMATES = ("weighted", "stratified")


@dataclass(frozen=True)
class Aggregate:
    """Log-densities of the draws of a batch, each (b,)."""

    conditional: PerItem
    """log q(z|x)."""
    joint: PerItem
    """log q(z)."""
    factorized: PerItem
    """sum_j log q(z_j)."""


def aggregate(seen: Pass, items: int, estimate: str) -> Aggregate:
    """What a batch says of q(z), in memory for b^2 numbers times those of a latent.

    Args:
        seen: a pass of two items or more, with a Gaussian posterior.
        items: in the whole data set.
        estimate: "weighted" or "stratified" minibatch sampling (arXiv 1802.04942, appendices C.1 and C.2).

    Raises:
        BadRecipe: the posterior is another.
    """
    posterior = seen.posterior
    if not isinstance(posterior, DiagonalGaussian):
        raise BadRecipe(
            f"mutual_information and total_correlation are not available for a {type(posterior).__name__} posterior.",
            "They require a gaussian posterior.",
            "",
        )
    z, mean, log_variance = (t.flatten(1) for t in (seen.z, posterior.mean, posterior.log_variance))
    apart = (z.unsqueeze(1) - mean).square() * torch.exp(-log_variance)
    pairs = -0.5 * (apart + log_variance + math.log(2 * math.pi))  # (draw, item, number of the latent)
    whole = pairs.sum(dim=2)
    log_weights = pair_weights(len(z), items, estimate).log().to(z)
    return Aggregate(
        whole.diagonal(),
        torch.logsumexp(whole + log_weights, dim=1),
        torch.logsumexp(pairs + log_weights.unsqueeze(2), dim=1).sum(dim=1),
    )


def pair_weights(batch: int, items: int, estimate: str) -> Tensor:
    """How much each item (column) counts in the density at each draw (row): (b, b), in double precision.

    Weighted: 1 / (N b) each; where all data are in the batch that is too little by a factor of N. Stratified: 1 / N for
    the item that a draw came from, and (N - 1) / (N M) for each of the M others, which stand for all that are not in
    the batch. Eq. S6 of the paper makes one of these others count less, which is the same on average and varies more.

    Raises:
        BadRecipe: the data set has fewer items than the batch.
    """
    if items < batch:
        raise BadRecipe(f"The setting items is {items}, but a batch has {batch} items.", "", "Set items.")
    if estimate == "weighted":
        return torch.full((batch, batch), 1 / (items * batch), dtype=torch.float64)
    weights = torch.full((batch, batch), (items - 1) / (items * (batch - 1)), dtype=torch.float64)
    return weights.fill_diagonal_(1 / items)


def of_aggregate(items: int, estimate: str, of: Callable[[Pass, Aggregate], PerItem]) -> Term:
    """A term that looks at q(z)."""
    if items < 2 or estimate not in ESTIMATES:
        raise ValueError(f"items is {items} and estimate {estimate!r}; expected the data set's size, {ESTIMATES}")
    return Term(lambda seen: of(seen, seen.once(aggregate, items, estimate)), nats=True, of_latents=True, least=2)


def mutual_information(items: int, estimate: str = "stratified") -> Term:
    """I(z; x) = E log q(z|x) - log q(z). See `aggregate` for the settings."""
    return of_aggregate(items, estimate, lambda _, q: q.conditional - q.joint)


def total_correlation(items: int, estimate: str = "stratified") -> Term:
    """KL(q(z) || prod_j q(z_j)): how far the numbers of a latent are from independent.

    A batch sees log q(z) too low, and more so the less the latents of its items overlap: many numbers together overlap
    less than each alone. So this may fall below 0, which no divergence does; its gradient is what it is for.
    """
    return of_aggregate(items, estimate, lambda _, q: q.joint - q.factorized)


def dimension_kl(items: int, estimate: str = "stratified") -> Term:
    """sum_j KL(q(z_j) || p(z_j)): how far each number of a latent is from the prior."""
    return of_aggregate(items, estimate, lambda seen, q: q.factorized - seen.prior.log_prob(seen.z))


KERNELS: dict[str, Callable[[Tensor], Tensor]] = {
    "imq": lambda squares: 1 / (1 + squares),
    "rbf": lambda squares: torch.exp(-squares),
}
"""Of the squared distance in units of the scale: inverse multiquadric and Gaussian."""
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def mmd(kernel: str = "imq", scales: Sequence[float] = SCALES) -> Term:
    """Squared maximum mean discrepancy between the latents of a batch and as many draws from the prior, without bias.

    InfoVAE (Zhao et al. 2017, arXiv 1706.02262, section 3) and Wasserstein autoencoders (Tolstikhin et al. 2018, arXiv
    1711.01558, algorithm 2) put it beside or in place of the KL. The kernel is the sum over scales s of
    C / (C + |a - b|^2) or exp(-|a - b|^2 / C), with C = 2 d s for latents of d numbers, what |a - b|^2 is expected
    to be under N(0, 1) times s.

    Args:
        kernel: "imq" or "rbf".
        scales: which are summed.
    """
    if kernel not in KERNELS or not scales or min(scales) <= 0:
        raise ValueError(f"kernel is {kernel!r} and scales {scales}; expected imq or rbf, and positive scales")

    def of(seen: Pass) -> Tensor:
        if not isinstance(seen.prior, SampledPrior):
            raise BadRecipe(f"mmd needs a prior that can be sampled; {type(seen.prior).__name__} cannot.", "", "")
        drawn = seen.prior.sample(seen.z, seen.generator)
        with torch.autocast(seen.z.device.type, enabled=False):
            return squared_discrepancy(seen.z.float().flatten(1), drawn.float().flatten(1), KERNELS[kernel], scales)

    return Term(of, nats=False, of_latents=True, least=2)


def squared_discrepancy(a: Tensor, b: Tensor, kernel: Callable[[Tensor], Tensor], scales: Sequence[float]) -> Tensor:
    """The unbiased estimate between two sets of as many vectors (n, d) (Gretton et al. 2012, JMLR 13, eq. 3)."""
    n, d = a.shape
    both = torch.cat([a, b])
    lengths = both.square().sum(dim=1)
    squares = (lengths.unsqueeze(1) + lengths - 2 * both @ both.T).clamp_min(0)
    similar = torch.stack([kernel(squares / (2 * d * scale)) for scale in scales]).sum(dim=0)
    # A vector is as similar to itself as can be: that is left out of the means within a set.
    within = [(block.sum() - block.diagonal().sum()) / (n * (n - 1)) for block in (similar[:n, :n], similar[n:, n:])]
    return within[0] + within[1] - 2 * similar[:n, n:].mean()

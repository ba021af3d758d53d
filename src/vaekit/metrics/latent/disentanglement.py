"""How well single latents stand for single causes: the mutual information gap.

Such scores spread more over seeds than over methods (Locatello et al. 2019, arXiv 1811.12359): compare medians of
several runs, or nothing.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

BINS = 20
"""Of each latent: as many as disentanglement_lib takes."""
Latent = Float[Tensor, "n z"]
Factors = Int[Tensor, "n k"]


@dataclass(frozen=True)
class Gap:
    """What was found."""

    score: float
    """The mean over factors, 0 to 1."""
    by_factor: tuple[float, ...]
    """The gap of each."""
    information: Float[Tensor, "z k"]
    """Mutual information of each latent and each factor, in nats."""


def mutual_information_gap(latents: Latent, factors: Factors, bins: int = BINS) -> Gap:
    """How much more the most informative latent says of each factor than the second most, over the factor's entropy
    (Chen et al. 2018, arXiv 1802.04942, eq. 6), with the mean of the posterior in so many equal bins between its least
    and greatest value, as Locatello et al. 2019 (arXiv 1811.12359, appendix A) estimate it.

        MIG = 1/K sum_k ( I(z_first; v_k) - I(z_second; v_k) ) / H(v_k)

    Args:
        latents: posterior means of n items.
        factors: what the items were made from: whole numbers from 0, every factor with two values or more.

    >>> factors = torch.tensor([[0], [1], [0], [1]])
    >>> mutual_information_gap(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), factors).score
    1.0
    """
    codes = torch.stack([binned(column, bins) for column in latents.unbind(1)])
    information = torch.tensor(
        [[mutual_information(code, factor) for factor in factors.unbind(1)] for code in codes], dtype=torch.float64
    )
    best = information.sort(dim=0, descending=True).values
    entropies = torch.tensor([entropy(factor.bincount()) for factor in factors.unbind(1)], dtype=torch.float64)
    gaps = (best[0] - (best[1] if len(best) > 1 else 0)) / entropies
    return Gap(gaps.mean().item(), tuple(gaps.tolist()), information)


def binned(values: Float[Tensor, " n"], bins: int) -> Int[Tensor, " n"]:
    """The bin of each value, 0 to bins - 1; 0 for all where they are equal."""
    low, high = values.min(), values.max()
    if high == low:
        return torch.zeros_like(values, dtype=torch.long)
    return ((values - low) / (high - low) * bins).long().clamp(max=bins - 1)


def mutual_information(a: Int[Tensor, " n"], b: Int[Tensor, " n"]) -> float:
    """I(a; b) = H(a) + H(b) - H(a, b) in nats, of whole numbers from 0, as counted."""
    together = a * (int(b.max()) + 1) + b
    return entropy(a.bincount()) + entropy(b.bincount()) - entropy(together.bincount())


def entropy(counts: Int[Tensor, " m"]) -> float:
    """Of counted outcomes, in nats.

    >>> round(entropy(torch.tensor([5, 5])), 4)
    0.6931
    """
    chances = counts[counts > 0].double() / counts.sum()
    return max(0.0, -(chances * chances.log()).sum().item())

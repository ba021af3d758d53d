"""Disentanglement: the mutual information gap.

Such scores vary more over seeds than over methods (Locatello et al. 2019, arXiv 1811.12359): compare medians of several
runs only.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

BINS = 20
"""Bins of each latent, as in disentanglement_lib."""
Latent = Float[Tensor, "n z"]
Factors = Int[Tensor, "n k"]


@dataclass(frozen=True)
class Gap:
    """The mutual information gap."""

    score: float
    """The mean over factors, 0 to 1."""
    by_factor: tuple[float, ...]
    """The gap of each factor."""
    information: Float[Tensor, "z k"]
    """Mutual information of each latent and each factor, in nats."""


def mutual_information_gap(latents: Latent, factors: Factors, bins: int = BINS) -> Gap:
    """The mutual information gap (Chen et al. 2018, arXiv 1802.04942, eq. 6): for each factor, the information of the
    most informative latent minus that of the second, over the entropy of the factor. Posterior means are put into
    `bins` equal bins between their least and greatest value, as in Locatello et al. 2019 (arXiv 1811.12359, appendix
    A).

        MIG = 1/K sum_k ( I(z_first; v_k) - I(z_second; v_k) ) / H(v_k)

    Args:
        latents: posterior means of n items.
        factors: the generating factors of the items: integers from 0, each factor with at least two values.
        bins: of each latent.

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
    """The bin of each value, 0 to bins - 1; 0 for all if they are equal."""
    low, high = values.min(), values.max()
    if high == low:
        return torch.zeros_like(values, dtype=torch.long)
    return ((values - low) / (high - low) * bins).long().clamp(max=bins - 1)


def mutual_information(a: Int[Tensor, " n"], b: Int[Tensor, " n"]) -> float:
    """I(a; b) = H(a) + H(b) - H(a, b) in nats, estimated from the counts of integers from 0."""
    joint = a * (int(b.max()) + 1) + b
    return entropy(a.bincount()) + entropy(b.bincount()) - entropy(joint.bincount())


def entropy(counts: Int[Tensor, " m"]) -> float:
    """The entropy in nats of a distribution given by counts.

    >>> round(entropy(torch.tensor([5, 5])), 4)
    0.6931
    """
    chances = counts[counts > 0].double() / counts.sum()
    return max(0.0, -(chances * chances.log()).sum().item())

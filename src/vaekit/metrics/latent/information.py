"""How much latents say about items: mutual information and active units."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

ACTIVE_VARIANCE = 0.01
"""A unit is active if its posterior mean varies by more than this over the data (Burda et al. 2016, arXiv 1509.00519,
section 5.2)."""
Vectors = Float[Tensor, "n d"]


def active_units(variance: Float[Tensor, " d"]) -> int:
    """The number of units whose posterior mean varies over the data, given the variances of the means (d,).

    >>> active_units(torch.tensor([1.0, 0.5, 0.001]))
    2
    """
    return int((variance > ACTIVE_VARIANCE).sum())


def mutual_information(z: Vectors, mean: Vectors, log_variance: Vectors) -> Float[Tensor, ""]:
    """I(z; x) in nats, from one sample z of the Gaussian posterior of each of n items.

        I = E log q(z|x) - E log q(z),    q(z) = 1/n sum_j q(z|x_j)

    At most log n: with fewer items than exp(I), it is too low (Hoffman & Johnson 2016, "ELBO surgery"; He et al. 2019,
    arXiv 1901.05534, section 2.3). Posteriors that ignore the data have 0:

    >>> same = torch.zeros(100, 2)
    >>> mutual_information(torch.randn(100, 2), same, same).abs().item() < 1e-5
    True
    """
    own, rows = [], []
    for some in range(0, len(z), 128):  # in parts: the differences take n d values for each sample
        squares = (z[some : some + 128].unsqueeze(1) - mean).square() * torch.exp(-log_variance)
        density = -0.5 * (squares + log_variance + math.log(2 * math.pi)).sum(dim=2)
        rows.append(density.logsumexp(dim=1))
        own.append(density.diagonal(offset=some))
    return (torch.cat(own) - torch.cat(rows)).mean() + math.log(len(z))

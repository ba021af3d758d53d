"""Distances of latents from those of reference items: of Mahalanobis, and to the k-th nearest one."""

from dataclasses import dataclass

import torch
from torch import Tensor

NEIGHBOR = 5
"""k."""
SPARE = 8
"""Candidates beside the k nearest that get an exact distance."""
QUERIES = 512
"""Items whose distances from all reference items are in memory together."""
MOST_CORRELATED = 1024
"""Latents with more values are standardized one by one, without their correlations."""


class Moments:
    """Mean and covariance of latents (n, d) in one pass, in double precision (Chan et al. 1983, Am. Stat. 37(3))."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros(0, dtype=torch.float64)
        self.products = torch.zeros(0, dtype=torch.float64)
        """The sum of products of differences from the mean, (d, d); only of squares, (d,), for large d."""

    def add(self, latents: Tensor) -> None:
        """Add latents (b, d)."""
        x = latents.double().cpu()
        if not len(x):
            return
        mean = x.mean(dim=0)
        products = self._products(x - mean)
        if not self.count:
            self.count, self.mean, self.products = len(x), mean, products
            return
        total = self.count + len(x)
        delta = (mean - self.mean).unsqueeze(0)
        self.products = self.products + products + self._products(delta) * (self.count * len(x) / total)
        self.mean = self.mean + delta[0] * (len(x) / total)
        self.count = total

    @staticmethod
    def _products(x: Tensor) -> Tensor:
        return x.T @ x if x.shape[1] <= MOST_CORRELATED else x.square().sum(dim=0)

    def whitening(self) -> Tensor:
        """W with squared Mahalanobis distance |W (z - mean)|^2: (d, d), or (d,) for a diagonal one.

        The covariance is shrunk towards a multiple of the identity by as much as suits normally distributed latents
        (OAS: Chen et al. 2010, IEEE TSP 58(10), eq. 23, without its terms 2/d, as in scikit-learn).
        """
        n, covariance = self.count, self.products / self.count
        if covariance.dim() == 1:
            average = covariance.mean()
            least = torch.finfo(torch.float32).eps * average if average > 0 else 1.0
            return (covariance + least).rsqrt()
        d = len(covariance)
        trace, squares = covariance.trace(), covariance.square().sum()
        if not trace > 0:
            return torch.eye(d, dtype=torch.float64)
        numerator = squares + trace.square()
        denominator = (n + 1) * (squares - trace.square() / d)
        share = 1.0 if denominator <= 0 else min(1.0, float(numerator / denominator))
        # Constant latent values would have no inverse.
        share = max(share, torch.finfo(torch.float32).eps)
        identity = torch.eye(d, dtype=torch.float64)
        factor = torch.linalg.cholesky((1 - share) * covariance + share * trace / d * identity)
        return torch.linalg.solve_triangular(factor, identity, upper=False)


@dataclass(frozen=True, eq=False)
class Gaussian:
    """The mean and the whitening of reference latents."""

    mean: Tensor
    """(d,), float64."""
    whitening: Tensor
    """See `Moments.whitening`."""

    def distance(self, latents: Tensor) -> Tensor:
        """The Mahalanobis distances of latents (b, d), (b,)."""
        centered = latents.double().cpu() - self.mean
        white = centered * self.whitening if self.whitening.dim() == 1 else centered @ self.whitening.T
        return white.norm(dim=1)


def neighbor_distance(latents: Tensor, reference: Tensor, own: bool = False, k: int = NEIGHBOR) -> Tensor:
    """The distances of latents (b, d) to their k-th nearest of reference latents (n, d), (b,), in double precision.

    Args:
        latents: the queries.
        reference: with fewer than k, the farthest one counts.
        own: the latents are the reference latents: each is left out among its own neighbors.
        k: the number of the neighbor.
    """
    gallery = reference.double().cpu()
    center = gallery.mean(dim=0)
    gallery = gallery - center
    squares = gallery.square().sum(dim=1)
    count = max(1, min(k, len(gallery) - own))
    candidates = min(len(gallery), count + own + SPARE)
    parts = []
    for start in range(0, len(latents), QUERIES):
        x = latents[start : start + QUERIES].double().cpu() - center
        # Products of matrices are fast and lose digits: they choose candidates, whose distances are computed exactly.
        approximate = squares - 2 * x @ gallery.T
        if own:
            rows = torch.arange(len(x))
            approximate[rows, start + rows] = torch.inf
        nearest = approximate.topk(candidates, largest=False).indices
        distances = torch.stack([(x - gallery[column]).norm(dim=1) for column in nearest.T], dim=1)
        if own:
            distances[nearest == (start + rows).unsqueeze(1)] = torch.inf
        parts.append(distances.kthvalue(count, dim=1).values)
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)

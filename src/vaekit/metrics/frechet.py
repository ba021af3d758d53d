"""The Frechet distance between two sets of features (Dowson & Landau 1982), as FID uses it (Heusel et al. 2017,
arXiv 1706.08500, eq. 6).

    d^2 = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)

with the mean m and the covariance S of each set: the squared 2-Wasserstein distance of two Gaussians. It is biased: the
fewer features, the larger it is (Chong & Forsyth 2020, arXiv 1911.07023).
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

Features = Float[Tensor, "n d"]
"""One feature vector for each item."""

BLOCK = 64
"""Rows that are added to the sums at once. The same rows in the same order give bit-identical sums, however they were
split between calls of `add`."""


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Mean (d,) and covariance (d, d), divided by n - 1, in float64."""

    mean: Tensor
    covariance: Tensor


@dataclass(eq=False)
class RunningGaussian:
    """Streaming mean and covariance of rows, in float64 and constant memory."""

    width: int
    count: int = field(default=0, init=False)
    _waiting: list[Tensor] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        self._sum = torch.zeros(self.width, dtype=torch.float64)
        self._products = torch.zeros(self.width, self.width, dtype=torch.float64)

    def add(self, rows: Features) -> None:
        """Add rows (n, d)."""
        self._waiting += rows.detach().cpu().double().split(1)
        self.count += len(rows)
        while len(self._waiting) >= BLOCK:
            self._take(BLOCK)

    def gaussian(self) -> Gaussian:
        """The mean and covariance of all rows so far.

        Raises:
            ValueError: there are fewer than two rows.
        """
        if self.count < 2:
            raise ValueError(f"{self.count} rows have no covariance")
        if self._waiting:
            self._take(len(self._waiting))
        mean = self._sum / self.count
        centered = self._products - self.count * torch.outer(mean, mean)
        return Gaussian(mean, centered / (self.count - 1))

    def _take(self, rows: int) -> None:
        block = torch.cat(self._waiting[:rows])
        del self._waiting[:rows]
        self._sum += block.sum(dim=0)
        self._products.addmm_(block.T, block)


def gaussian_of(features: Features) -> Gaussian:
    """Mean and covariance of features (n, d), n >= 2."""
    running = RunningGaussian(features.shape[1])
    running.add(features)
    return running.gaussian()


def frechet_distance(one: Gaussian, other: Gaussian) -> float:
    """The squared Frechet distance of two Gaussians; 0 for equal ones. FID where the features are Inception's.

    The trace of (S1 S2)^(1/2) is the sum of the singular values of S1^(1/2) S2^(1/2), whose squares are the eigenvalues
    of S1^(1/2) S2 S1^(1/2). The product S1 S2 itself is not symmetric, and its matrix square root is unstable where
    there are fewer items than features. A singular value, unlike the root of an eigenvalue, stays accurate near zero.

    >>> line = torch.tensor([[0.0], [2.0]])
    >>> frechet_distance(gaussian_of(line), gaussian_of(line + 3))
    9.0
    """
    roots = [_root(gaussian.covariance) for gaussian in (one, other)]
    overlap = torch.linalg.svdvals(roots[0] @ roots[1]).sum()
    apart = (one.mean - other.mean).square().sum()
    traces = one.covariance.diagonal().sum() + other.covariance.diagonal().sum()
    return float(apart + traces - 2 * overlap)


def _root(covariance: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """The symmetric square root. Eigenvalues within rounding error of zero are set to zero."""
    values, vectors = torch.linalg.eigh(covariance)
    noise = values.abs().max() * len(values) * torch.finfo(values.dtype).eps
    kept = torch.where(values > noise, values, 0.0)
    return (vectors * kept.sqrt()) @ vectors.T

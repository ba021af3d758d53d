"""Moments of latent vectors over all positions of all items: mean, covariance, skewness, kurtosis.

They are updated in float64 with constant memory (Pébay 2008, Sandia report SAND2008-6212), from central moments of
blocks of items: sums of powers would cancel where the mean is large.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

BLOCK = 64
"""Items that are merged into the moments at once."""
BLOCK_VECTORS = 2**16
"""The number of vectors after which they are merged earlier."""
Rows = Float[Tensor, "n z"]
PerChannel = Float[Tensor, "z"]


@dataclass(eq=False)
class Moments:
    """Streaming moments of vectors with `width` values. The same items in the same order give bit-identical moments."""

    width: int
    count: int = field(default=0, init=False)
    """The number of vectors."""
    _waiting: list[Tensor] = field(default_factory=list, init=False, repr=False)
    _merged: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        self._mean, self._third, self._fourth = torch.zeros(3, self.width, dtype=torch.float64).unbind()
        self._scatter = torch.zeros(self.width, self.width, dtype=torch.float64)

    def add(self, rows: Rows) -> None:
        """Add the vectors of one item."""
        self._waiting.append(rows.detach().cpu().double())
        self.count += len(rows)
        if len(self._waiting) == BLOCK or self.count - self._merged >= BLOCK_VECTORS:
            self._merge()

    def _merge(self) -> None:
        """Merge the waiting vectors by their own moments (Pébay 2008, eqs. 2.1, 2.7, 2.8)."""
        if not self._waiting:
            return
        exact = torch.cat(self._waiting)
        self._waiting.clear()
        n, m = self._merged, len(exact)
        mean = exact.mean(dim=0)
        centered = exact - mean
        scatter, third, fourth = centered.T @ centered, centered.pow(3).sum(dim=0), centered.pow(4).sum(dim=0)
        delta, total = mean - self._mean, n + m
        own, new = self._scatter.diagonal(), scatter.diagonal()
        self._fourth = (
            self._fourth
            + fourth
            + delta.pow(4) * (n * m * (n * n - n * m + m * m) / total**3)
            + 6 * delta.square() * (n * n * new + m * m * own) / total**2
            + 4 * delta * (n * third - m * self._third) / total
        )
        self._third = (
            self._third + third + delta.pow(3) * (n * m * (n - m) / total**2) + 3 * delta * (n * new - m * own) / total
        )
        self._scatter = self._scatter + scatter + torch.outer(delta, delta) * (n * m / total)
        self._mean = self._mean + delta * m / total
        self._merged = total

    @property
    def mean(self) -> PerChannel:
        """The mean of each channel."""
        self._merge()
        return self._mean

    @property
    def covariance(self) -> Float[Tensor, "z z"]:
        """The covariance of channels, divided by the number of vectors."""
        self._merge()
        return self._scatter / self.count

    @property
    def std(self) -> PerChannel:
        """The standard deviation of each channel."""
        return self.covariance.diagonal().clamp(min=0).sqrt()

    @property
    def skewness(self) -> PerChannel:
        """E[(z - mean)^3] / std^3 of each channel: 0 for a Gaussian; NaN for a constant channel."""
        std = self.std  # merges
        return self._third / self.count / std.pow(3)

    @property
    def kurtosis(self) -> PerChannel:
        """E[(z - mean)^4] / std^4 - 3 of each channel, the excess kurtosis: 0 for a Gaussian, -1.2 for a uniform
        distribution, above 0 for heavy tails; NaN for a constant channel."""
        std = self.std  # merges
        return self._fourth / self.count / std.pow(4) - 3


def moments_of(rows: Rows) -> Moments:
    """The moments of vectors (n, z).

    >>> moments_of(torch.tensor([[0.0], [2.0]])).kurtosis
    tensor([-2.], dtype=torch.float64)
    """
    moments = Moments(rows.shape[1])
    moments.add(rows)
    return moments

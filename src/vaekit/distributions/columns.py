"""A likelihood of table rows with columns of several kinds."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from vaekit.distributions.base import Factorized, expectation, sum_items
from vaekit.shapes import PerItem


@dataclass(frozen=True)
class Group:
    """Consecutive columns of one kind."""

    likelihood: Factorized
    """Of the values of these columns, (b, columns * width), with one factor for each column."""
    columns: int
    width: int = 1
    """Values of a column: the number of categories for one-hot columns, otherwise 1."""

    @property
    def values(self) -> int:
        """The number of values of all columns."""
        return self.columns * self.width


@dataclass(frozen=True)
class Columns:
    """p(x|z) for rows x (b, n): the product of the likelihoods of groups of columns.

    A missing cell is NaN in all values of its column. Its factor is 1, so that a row's likelihood is that of its
    observed cells: the integral over the missing ones.
    """

    groups: tuple[Group, ...]
    """In the order of the values of x."""

    @property
    def mode(self) -> Tensor:
        return torch.cat([group.likelihood.mode for group in self.groups], dim=1)

    @property
    def expectation(self) -> Tensor:
        """The mode, with probabilities as the values of two-valued and categorical columns."""
        return torch.cat([expectation(group.likelihood) for group in self.groups], dim=1)

    def sample(self, generator: Generator | None = None) -> Tensor:
        return torch.cat([group.likelihood.sample(generator) for group in self.groups], dim=1)

    def log_prob(self, x: Tensor) -> PerItem:
        return sum_items(self.log_factors(x))

    def log_factors(self, x: Tensor) -> Tensor:
        """log p(column|z) in nats, (b, columns), in the order of the values of x; 0 for missing cells."""
        parts = x.split([group.values for group in self.groups], dim=1)
        return torch.cat([self._observed(group, part) for group, part in zip(self.groups, parts, strict=True)], dim=1)

    @staticmethod
    def _observed(group: Group, x: Tensor) -> Tensor:
        missing = x.isnan()
        factors = group.likelihood.log_factors(x.nan_to_num() if missing.any() else x)
        return factors.masked_fill(missing.unflatten(1, (-1, group.width)).any(dim=2), 0)

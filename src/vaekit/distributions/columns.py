"""A row of a table, whose columns are of several kinds."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from vaekit.distributions.base import Likelihood
from vaekit.shapes import PerItem


@dataclass(frozen=True)
class Columns:
    """p(x|z) for rows x (b, n): the product of the likelihoods of groups of columns."""

    groups: tuple[tuple[tuple[int, ...], Likelihood], ...]
    """Which columns, and their likelihood (b, so many); every column is in one group."""

    @property
    def mode(self) -> Tensor:
        return self._gathered(lambda likelihood: likelihood.mode)

    def sample(self, generator: Generator | None = None) -> Tensor:
        return self._gathered(lambda likelihood: likelihood.sample(generator))

    def log_prob(self, x: Tensor) -> PerItem:
        told = [likelihood.log_prob(x[:, columns]) for columns, likelihood in self.groups]
        return torch.stack(told).sum(dim=0)

    def _gathered(self, of: Callable[[Likelihood], Tensor]) -> Tensor:
        order = torch.tensor([column for columns, _ in self.groups for column in columns])
        values = torch.cat([of(likelihood) for _, likelihood in self.groups], dim=1)
        return values[:, order.argsort().to(values.device)]

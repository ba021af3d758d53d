"""A likelihood of table rows with columns of several kinds."""

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
    """Indices of columns, and their likelihood over (b, columns); each column is in exactly one group."""

    @property
    def mode(self) -> Tensor:
        return self._gathered(lambda likelihood: likelihood.mode)

    def sample(self, generator: Generator | None = None) -> Tensor:
        return self._gathered(lambda likelihood: likelihood.sample(generator))

    def log_prob(self, x: Tensor) -> PerItem:
        terms = [likelihood.log_prob(x[:, columns]) for columns, likelihood in self.groups]
        return torch.stack(terms).sum(dim=0)

    def _gathered(self, function: Callable[[Likelihood], Tensor]) -> Tensor:
        """The values of a function of each group, (b, columns), in the order of columns."""
        order = torch.tensor([column for columns, _ in self.groups for column in columns])
        values = torch.cat([function(likelihood) for _, likelihood in self.groups], dim=1)
        return values[:, order.argsort().to(values.device)]

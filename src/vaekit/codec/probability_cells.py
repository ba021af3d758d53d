"""Variables with a table of probabilities, such as codes, tokens and components."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from vaekit.codec.types import Integers


@dataclass(frozen=True, eq=False)
class ProbabilityCells:
    """Independent variables with K values each."""

    cumulative_probabilities: Tensor
    """Of each value and those before it, (n, K), in double precision."""

    @classmethod
    def of(cls, logits: Tensor) -> "ProbabilityCells":
        """Variables with logits (n, K)."""
        return cls(logits.double().softmax(dim=1).cumsum(dim=1))

    @property
    def counts(self) -> Integers:
        variables, values = self.cumulative_probabilities.shape
        return np.full(variables, values, dtype=np.int64)

    def cumulative(self, edges: Tensor, chosen: Tensor) -> Tensor:
        return self.cumulative_probabilities[chosen, edges - 1]


@dataclass(frozen=True)
class UniformCells:
    """Independent variables whose K values are equally probable."""

    variables: int
    values: int
    """K."""

    @property
    def counts(self) -> Integers:
        return np.full(self.variables, self.values, dtype=np.int64)

    def cumulative(self, edges: Tensor, chosen: Tensor) -> Tensor:
        return edges.double() / self.values

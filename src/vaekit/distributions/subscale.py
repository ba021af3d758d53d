"""A likelihood of images whose pixels are in interlaced parts, each of which depends on those before it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Generator, Tensor

from vaekit.distributions.base import Factorized
from vaekit.shapes import PerItem


@runtime_checkable
class PartModel(Protocol):
    """A network that predicts each part of an item from the context and the parts before it."""

    def divide(self, x: Tensor) -> list[Tensor]:
        """The parts of items (b, ...), in order, each (b, ...)."""

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """The inverse."""

    def part(self, context: Tensor, known: Sequence[Tensor]) -> Factorized:
        """p(x_k | x_<k, z) of the part after the known ones."""


@dataclass(frozen=True)
class Subscale:
    """p(x|z) = prod_k p(x_k | x_<k, z) for the parts x_k of an item, with independent elements in each: as many steps
    as there are parts (Reed et al. 2017, arXiv 1703.03664; Menick & Kalchbrenner 2019, arXiv 1812.01608)."""

    model: PartModel
    context: Tensor
    """The output of the decoder, (b, ...)."""
    parts: int

    @property
    def mode(self) -> Tensor:
        """Part by part the mode, given those of the parts before: approximately the most probable item."""
        return self._unroll(lambda likelihood: likelihood.mode)

    @torch.no_grad()
    def sample(self, generator: Generator | None = None) -> Tensor:
        return self._unroll(lambda likelihood: likelihood.sample(generator))

    def log_prob(self, x: Tensor) -> PerItem:
        parts = self.model.divide(x)
        each = [self.model.part(self.context, parts[:k]).log_prob(part) for k, part in enumerate(parts)]
        return torch.stack(each).sum(dim=0)

    def log_factors(self, x: Tensor) -> Tensor:
        """log p(x_i | parts before, z) of each element, (b, ...): conditional probabilities, which add up to
        `log_prob`."""
        parts = self.model.divide(x)
        each = [self.model.part(self.context, parts[:k]).log_factors(part) for k, part in enumerate(parts)]
        return self.model.join(each)

    def _unroll(self, choose: Callable[[Factorized], Tensor]) -> Tensor:
        parts: list[Tensor] = []
        for _ in range(self.parts):
            parts.append(choose(self.model.part(self.context, parts)))
        return self.model.join(parts)

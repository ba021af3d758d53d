"""Likelihoods of single cells of a table: heavy-tailed values, discrete steps, counts and categories."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from vaekit.distributions.base import sum_items
from vaekit.distributions.discretized import log_interval, logistic_noise
from vaekit.shapes import PerItem

UNSEEN = -1.0
"""A value of a two-valued column that is neither of the two."""


@dataclass(frozen=True)
class StudentT:
    """p(x|z) = StudentT(location, scale, degrees of freedom) per element: tolerates outliers."""

    location: Tensor
    scale: Tensor | float
    degrees: Tensor
    """Of freedom, positive; broadcast to the location."""

    @property
    def mode(self) -> Tensor:
        return self.location

    @torch.no_grad()
    def sample(self, generator: Generator | None = None) -> Tensor:
        """normal / sqrt(chi2 / degrees), drawn in double precision on the generator's device."""
        device = self.location.device if generator is None else generator.device
        normal = torch.randn(self.location.shape, generator=generator, device=device, dtype=torch.float64)
        degrees = self.degrees.to(device, torch.float64).expand(self.location.shape)
        gamma = torch._standard_gamma(degrees / 2, generator=generator)
        noise = normal / (2 * gamma / degrees).clamp(min=torch.finfo(torch.float64).tiny).sqrt()
        return self.location + self.scale * noise.to(self.location)

    def log_prob(self, x: Tensor) -> PerItem:
        return sum_items(self.log_factors(x))

    def log_factors(self, x: Tensor) -> Tensor:
        scale = torch.as_tensor(self.scale, dtype=x.dtype, device=x.device)
        half = (self.degrees + 1) / 2
        constant = torch.lgamma(half) - torch.lgamma(self.degrees / 2) - 0.5 * (self.degrees * math.pi).log()
        return constant - scale.log() - half * torch.log1p(((x - self.location) / scale).square() / self.degrees)


@dataclass(frozen=True)
class LogisticSteps:
    """p(x|z) for values on a grid: the mass of Logistic(location, scale) within half a step around each value. The grid
    has no ends, so that a value far outside the data is improbable."""

    location: Tensor
    scale: Tensor | float
    half_step: Tensor
    """Half the distance of two values, for each column (n,)."""

    @property
    def mode(self) -> Tensor:
        """The location, not rounded, so that it has a gradient."""
        return self.location

    @torch.no_grad()
    def sample(self, generator: Generator | None = None) -> Tensor:
        """Not rounded: the grid's origin is a matter of the schema."""
        return self.location + self.scale * logistic_noise(self.location, generator)

    def log_prob(self, x: Tensor) -> PerItem:
        return sum_items(self.log_factors(x))

    def log_factors(self, x: Tensor) -> Tensor:
        return log_interval((x - self.location) / self.scale, self.half_step / self.scale, False, False)


@dataclass(frozen=True)
class LogisticCounts:
    """p(x|z) for counts c, given as x = (f(c) - center) / spread with f(c) = sign(c) log(1 + |c|): the mass of
    Logistic(location, scale) between the values of c - 1/2 and c + 1/2, with all mass below 1/2 at 0. A negative number
    is no count; it has the mass around it, and is improbable."""

    location: Tensor
    scale: Tensor | float
    center: Tensor
    """(n,), for each column."""
    spread: Tensor
    """(n,)."""

    @property
    def mode(self) -> Tensor:
        """The location, not rounded, so that it has a gradient."""
        return self.location

    @torch.no_grad()
    def sample(self, generator: Generator | None = None) -> Tensor:
        """Rounded to counts."""
        x = self.location + self.scale * logistic_noise(self.location, generator)
        return self._value(self._count(x).clamp(min=0))

    def log_prob(self, x: Tensor) -> PerItem:
        return sum_items(self.log_factors(x))

    def log_factors(self, x: Tensor) -> Tensor:
        count = self._count(x)
        lower, upper = self._value(count - 0.5), self._value(count + 0.5)
        middle, reach = (upper + lower) / 2, (upper - lower) / 2
        return log_interval((middle - self.location) / self.scale, reach / self.scale, count == 0, False)

    def _count(self, x: Tensor) -> Tensor:
        logarithm = (x * self.spread + self.center).clamp(-80, 80)  # its exponential is finite in fp32
        return (logarithm.sign() * torch.expm1(logarithm.abs())).round()

    def _value(self, count: Tensor) -> Tensor:
        return (count.sign() * torch.log1p(count.abs()) - self.center) / self.spread


@dataclass(frozen=True)
class TwoValued:
    """p(x|z) for columns of 0 and 1, with a small probability of any other value."""

    logits: Tensor
    unseen: float
    """The probability of all other values together, in [0, 1)."""

    @property
    def mode(self) -> Tensor:
        return (self.logits > 0).to(self.logits.dtype)

    @property
    def expectation(self) -> Tensor:
        """The probabilities of ones."""
        return self.logits.sigmoid()

    @torch.no_grad()
    def sample(self, generator: Generator | None = None) -> Tensor:
        """0 or 1; NaN where a logit is NaN."""
        drawn = torch.bernoulli(self.logits.sigmoid().nan_to_num(), generator=generator)
        return drawn.masked_fill(self.logits.isnan(), torch.nan)

    def log_prob(self, x: Tensor) -> PerItem:
        return sum_items(self.log_factors(x))

    def log_factors(self, x: Tensor) -> Tensor:
        known = math.log1p(-self.unseen) + x * self.logits - F.softplus(self.logits)
        return torch.where(x == UNSEEN, math.log(self.unseen) if self.unseen else -torch.inf, known)


@dataclass(frozen=True)
class OneHot:
    """p(x|z) for one-hot columns (b, n k) of k categories, with a small probability of any other category, whose values
    are all 0."""

    logits: Tensor
    """(b, n k)."""
    choices: int
    """k."""
    unseen: float
    """The probability of all other categories together, in [0, 1)."""

    @property
    def mode(self) -> Tensor:
        return self._as_values(self._split(self.logits).argmax(dim=-1))

    @property
    def expectation(self) -> Tensor:
        """The probabilities of the categories."""
        return self._split(self.logits).softmax(dim=-1).flatten(1)

    @torch.no_grad()
    def sample(self, generator: Generator | None = None) -> Tensor:
        """One of the k categories; NaN where a logit is NaN."""
        probabilities = self._split(self.logits).softmax(dim=-1)
        damaged = probabilities.isnan().any(dim=-1, keepdim=True)
        drawn = torch.multinomial(probabilities.masked_fill(damaged, 1).flatten(0, 1), 1, generator=generator)
        values = self._as_values(drawn.view(probabilities.shape[:2]))
        return values.masked_fill(damaged.expand_as(probabilities).flatten(1), torch.nan)

    def log_prob(self, x: Tensor) -> PerItem:
        return sum_items(self.log_factors(x))

    def log_factors(self, x: Tensor) -> Tensor:
        values = self._split(x)
        known = math.log1p(-self.unseen) + (values * self._split(self.logits).log_softmax(dim=-1)).sum(dim=-1)
        return torch.where(values.any(dim=-1), known, math.log(self.unseen) if self.unseen else -torch.inf)

    def _split(self, values: Tensor) -> Tensor:
        return values.unflatten(1, (-1, self.choices))

    def _as_values(self, chosen: Tensor) -> Tensor:
        return F.one_hot(chosen, self.choices).flatten(1).to(self.logits.dtype)

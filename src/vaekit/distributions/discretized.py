"""Likelihoods of discrete levels, such as those of 8-bit images: normalized probabilities."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from vaekit.distributions.base import sum_items
from vaekit.shapes import PerItem

LEVELS = 256
"""The levels of 8-bit images."""


@dataclass(frozen=True)
class DiscretizedLogistic:
    """p(x|z) for data on evenly spaced levels in [-1, 1]: the mass of Logistic(mean, scale) nearest to each level, with
    both tails at the ends (Kingma et al. 2016, arXiv 1606.04934, section 5.2; Salimans et al. 2017, arXiv 1701.05517).
    """

    mean: Tensor
    scale: Tensor | float = 0.1
    levels: int = LEVELS

    @property
    def mode(self) -> Tensor:
        """The location clamped to [-1, 1], not rounded to a level, so that it has a gradient: the reconstruction."""
        return self.mean.clamp(-1, 1)

    @torch.no_grad()
    def sample(self, generator: Generator | None = None) -> Tensor:
        return on_levels(self.mean + self.scale * logistic_noise(self.mean, generator), self.levels)

    def log_prob(self, x: Tensor) -> PerItem:
        return sum_items(self.log_factors(x))

    def log_factors(self, x: Tensor) -> Tensor:
        return log_mass(x, self.mean, self.scale, self.levels)


@dataclass(frozen=True)
class DiscretizedLogisticMixture:
    """A mixture of M discretized logistic distributions for each value (arXiv 1701.05517, section 2.1). Here the
    channels of a pixel are independent given z; in the paper later channels depend on earlier ones."""

    logits: Tensor
    """Logits of the weights, (b, M, ...)."""
    mean: Tensor
    """(b, M, ...)."""
    scale: Tensor
    """(b, M, ...)."""
    levels: int = LEVELS

    @classmethod
    def from_parameters(cls, parameters: Tensor, components: int, scale: float) -> "DiscretizedLogisticMixture":
        """From the output of a decoder, (b, 3 M c, ...).

        For an output of 0, components are evenly spaced over [-1, 1], with equal weights and scales of `scale`.
        """
        exact = parameters.to(torch.promote_types(parameters.dtype, torch.float32))
        logits, shift, log_scale = exact.unflatten(1, (3, components, -1)).unbind(1)
        centers = (torch.arange(components, device=exact.device, dtype=exact.dtype) * 2 + 1) / components - 1
        centers = centers.view(1, -1, *[1] * (shift.dim() - 2))
        return cls(logits, shift + centers, scale * log_scale.clamp(-5, 5).exp())

    @property
    def mode(self) -> Tensor:
        """The expectation of the clamped location, in [-1, 1]: the reconstruction."""
        return (self.logits.softmax(dim=1) * self.mean.clamp(-1, 1)).sum(dim=1)

    @torch.no_grad()
    def sample(self, generator: Generator | None = None) -> Tensor:
        device = self.mean.device if generator is None else generator.device
        weights = self.logits.softmax(dim=1).movedim(1, -1)
        drawn = torch.multinomial(weights.flatten(0, -2).to(device), 1, generator=generator)
        chosen = drawn.view(weights.shape[:-1]).unsqueeze(1).to(self.mean.device)
        mean, scale = (each.gather(1, chosen).squeeze(1) for each in (self.mean, self.scale))
        return on_levels(mean + scale * logistic_noise(mean, generator), self.levels)

    def log_prob(self, x: Tensor) -> PerItem:
        return sum_items(self.log_factors(x))

    def log_factors(self, x: Tensor) -> Tensor:
        each = log_mass(x.unsqueeze(1), self.mean, self.scale, self.levels)
        return torch.logsumexp(each + self.logits.log_softmax(dim=1), dim=1)


def log_mass(x: Tensor, mean: Tensor, scale: Tensor | float, levels: int) -> Tensor:
    """The log-probability that a logistic distribution assigns to the interval around the level of x, per element.

    At the lowest level the interval has no lower end, at the highest no upper end.
    """
    mean = mean.to(torch.promote_types(mean.dtype, torch.float32))
    scale = torch.as_tensor(scale, dtype=mean.dtype, device=mean.device)
    half = 1 / (levels - 1)
    return log_interval((x - mean) / scale, half / scale, x < -1 + half, x > 1 - half)


def log_interval(middle: Tensor, reach: Tensor, open_below: Tensor | bool, open_above: Tensor | bool) -> Tensor:
    """The log-probability that Logistic(0, 1) assigns to the interval from middle - reach to middle + reach.

    With the ends a > b of the interval it is the logarithm of

        sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a))

    which is numerically stable in the tails. An interval that is open below has b = -infinity, one that is open above
    has a = infinity.
    """
    zero = torch.zeros((), dtype=middle.dtype, device=middle.device)
    below_open, above_open = (torch.as_tensor(each, device=middle.device) for each in (open_below, open_above))
    above = torch.where(above_open, zero, F.logsigmoid(middle + reach))
    below = torch.where(below_open, zero, F.logsigmoid(reach - middle))
    between = torch.where(below_open | above_open, zero, torch.log(-torch.expm1(-2 * reach)))
    return above + below + between


def logistic_noise(like: Tensor, generator: Generator | None) -> Tensor:
    """Logistic(0, 1) noise, drawn on the generator's device and moved to that of `like`."""
    device = like.device if generator is None else generator.device
    uniform = torch.rand(like.shape, generator=generator, device=device, dtype=torch.float64)
    return torch.logit(uniform, eps=1e-12).to(like)


def on_levels(values: Tensor, levels: int) -> Tensor:
    """Round values to the nearest level in [-1, 1]."""
    steps = (levels - 1) / 2
    return torch.round((values.clamp(-1, 1) + 1) * steps) / steps - 1

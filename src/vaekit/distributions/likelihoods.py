"""Likelihoods p(x|z) with independent elements."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from vaekit.distributions.base import standard_noise, sum_items
from vaekit.shapes import PerItem


@dataclass(frozen=True)
class Normal:
    """p(x|z) = N(mean, scale) per element. With a fixed scale, -log p is the squared error plus a constant."""

    mean: Tensor
    scale: Tensor | float = 1.0

    @property
    def mode(self) -> Tensor:
        return self.mean

    @torch.no_grad()
    def sample(self, generator: Generator | None = None) -> Tensor:
        return self.mean + self.scale * standard_noise(self.mean, generator)

    def log_prob(self, x: Tensor) -> PerItem:
        return sum_items(self.log_factors(x))

    def log_factors(self, x: Tensor) -> Tensor:
        scale = torch.as_tensor(self.scale, dtype=x.dtype, device=x.device)
        return -(0.5 * ((x - self.mean) / scale).square() + scale.log() + 0.5 * math.log(2 * math.pi))


@dataclass(frozen=True)
class Laplace:
    """p(x|z) = Laplace(mean, scale) per element. With a fixed scale, -log p is the L1 error plus a constant."""

    mean: Tensor
    scale: Tensor | float = 1.0

    @property
    def mode(self) -> Tensor:
        return self.mean

    @torch.no_grad()
    def sample(self, generator: Generator | None = None) -> Tensor:
        """Inverse transform sampling: mean - scale * sign(u) * log(1 - 2|u|), u in (-1/2, 1/2)."""
        device = self.mean.device if generator is None else generator.device
        uniform = torch.rand(self.mean.shape, generator=generator, device=device).to(self.mean) - 0.5
        edge = 0.5 - torch.finfo(self.mean.dtype).eps
        uniform = uniform.clamp(-edge, edge)
        return self.mean - self.scale * uniform.sign() * torch.log1p(-2 * uniform.abs())

    def log_prob(self, x: Tensor) -> PerItem:
        return sum_items(self.log_factors(x))

    def log_factors(self, x: Tensor) -> Tensor:
        scale = torch.as_tensor(self.scale, dtype=x.dtype, device=x.device)
        return -((x - self.mean).abs() / scale + (2 * scale).log())


@dataclass(frozen=True)
class Bernoulli:
    """p(x|z) for data in {0, 1}, or, as is customary, gray values in [0, 1], given logits."""

    logits: Tensor

    @property
    def mode(self) -> Tensor:
        return (self.logits > 0).to(self.logits.dtype)

    @property
    def mean(self) -> Tensor:
        """The probability of a one."""
        return self.logits.sigmoid()

    def sample(self, generator: Generator | None = None) -> Tensor:
        return torch.bernoulli(self.mean.detach(), generator=generator)

    def log_prob(self, x: Tensor) -> PerItem:
        return BernoulliLogProbability.apply(x, self.logits)

    def log_factors(self, x: Tensor) -> Tensor:
        return x * self.logits - F.softplus(self.logits)


class BernoulliLogProbability(torch.autograd.Function):
    """v log p + (1 - v) log(1 - p) with p = sigmoid(logits), summed over each item: v l - softplus(l).

    The explicit gradient, v - sigmoid(l), takes half as many passes over the data as that of autograd: in small nets
    the likelihood is a fifth of the time of a training step.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, logits: Tensor) -> Tensor:
        ctx.save_for_backward(values, logits)
        exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return sum_items(torch.addcmul(F.softplus(exact).neg_(), values, exact.to(values.dtype)))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        values, logits = ctx.saved_tensors
        gradient = gradients[0].view(-1, *[1] * (logits.dim() - 1))
        for_values, for_logits = ctx.needs_input_grad
        return (
            gradient * logits if for_values else None,
            (gradient * (values - logits.to(values.dtype).sigmoid())).to(logits.dtype) if for_logits else None,
        )


@dataclass(frozen=True)
class SignedBernoulli:
    """p(x|z) for data in {-1, 1}, or, as is customary, gray values in [-1, 1], given the logits of a 1.

        log p(x|z) = v log p + (1 - v) log(1 - p),    v = (x + 1) / 2,    p = sigmoid(logits)

    For gray values this is the cross-entropy that VAEs of gray images are usually trained with, which is not a
    normalized density (Loaiza-Ganem & Cunningham 2019, arXiv 1907.06845).
    """

    logits: Tensor

    @property
    def mode(self) -> Tensor:
        """The expectation 2p - 1, in [-1, 1], as the reconstruction: the most probable data, its signs, are not useful
        for gray images."""
        # tanh(l / 2) = 2 sigmoid(l) - 1, without the loss of precision around 0.
        return torch.tanh(self.logits / 2)

    def sample(self, generator: Generator | None = None) -> Tensor:
        return 2 * Bernoulli(self.logits).sample(generator) - 1

    def log_prob(self, x: Tensor) -> PerItem:
        return Bernoulli(self.logits).log_prob(0.5 * (x + 1))

    def log_factors(self, x: Tensor) -> Tensor:
        return Bernoulli(self.logits).log_factors(0.5 * (x + 1))

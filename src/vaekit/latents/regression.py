"""Estimate a property of items from their latents: a small regression with gradients.

Linear ridge regression, or ridge regression on the latents and random Fourier features of them (Rahimi & Recht 2007,
"Random features for large-scale kernel machines"), which approximates a Gaussian kernel: whichever predicts items that
it was not fitted to better.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vaekit.latents.probes import Vector, fitted, held_out_score, ridge
from vaekit.latents.regions import Vectors
from vaekit.latents.targets import Target

FREQUENCIES = 256
"""Random Fourier features."""
LENGTHS = (0.7, 1.5)
"""Of Gaussian kernels, relative to the typical distance of two latents."""


@dataclass(frozen=True, eq=False)
class Features:
    """What a regression is linear in."""

    mean: Vector
    scale: float
    """The root mean square of the standard deviations of latents."""
    frequencies: Tensor
    """(d, k); k may be 0."""
    phases: Tensor
    """(k)."""

    @classmethod
    def of(cls, x: Vectors, length: float | None, seed: int) -> "Features":
        """Those of latents (n, d): with the length of a kernel relative to their distances, or linear ones.

        The typical distance is that of a Gaussian in d dimensions: sqrt(2 d) standard deviations.
        """
        d, count = x.shape[1], 0 if length is None else FREQUENCIES
        generator = torch.Generator().manual_seed(seed % 2**63)
        frequencies = torch.randn(d, count, generator=generator, dtype=x.dtype)
        phases = 2 * math.pi * torch.rand(count, generator=generator, dtype=x.dtype)
        scale = x.var(dim=0, correction=0).mean().sqrt().clamp(min=torch.finfo(x.dtype).tiny).item()
        return cls(x.mean(dim=0), scale, frequencies / ((length or 1.0) * math.sqrt(2 * d)), phases)

    def __call__(self, x: Tensor) -> Tensor:
        """Latents (n, d) -> features (n, d + k), differentiable."""
        relative = (x - self.mean) / self.scale
        if not len(self.phases):
            return relative
        return torch.cat([relative, math.sqrt(2) * (relative @ self.frequencies + self.phases).cos()], dim=1)


@dataclass(frozen=True, eq=False)
class Regression:
    """An estimate of a property from latents."""

    features: Features
    weights: Vector
    intercept: float
    r2: float | None
    """Of predictions for items that it was not fitted to; None if there are too few to hold some out."""
    items: int
    """The number of items that it was fitted to."""

    @property
    def linear(self) -> bool:
        """Whether the gradient is the same everywhere."""
        return not len(self.features.phases)

    def __call__(self, x: Tensor) -> Tensor:
        """Estimates (n,) for latents (n, d) in float64, differentiable."""
        return self.features(x.double()) @ self.weights + self.intercept


def fit_regression(x: Vectors, target: Target, seed: int = 0, lengths: Sequence[float] = LENGTHS) -> Regression:
    """Fit a regression of a property on latents.

    Args:
        x: latents (n, d) in float64.
        target: the property; items without it are left out.
        seed: of the random features.
        lengths: of the kernels that are tried beside a linear function.
    """
    known = target.known
    every = [_fit(Features.of(x[known], length, seed), x, target) for length in (None, *lengths)]
    return max(every, key=lambda each: -math.inf if each.r2 is None else each.r2)


def _fit(features: Features, x: Vectors, target: Target) -> Regression:
    inputs, known = features(x), target.known
    score = held_out_score(inputs, target, ridge)
    weights = fitted(inputs, target, ridge)
    shares = target.weights[known]
    intercept = (shares @ (target.values[known] - inputs[known] @ weights)).item()
    return Regression(features, weights, intercept, None if score is None else score.r2, len(known))

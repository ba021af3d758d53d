"""Rectified flows: straight paths between data and noise, and the times at which they are learned.

    x_t = (1 - t) x + t noise        velocity = dx_t / dt = noise - x

t = 0 is data, t = 1 is noise N(0, I). A net that predicts the velocity is trained with a squared error (Lipman et al.
2022, arXiv 2210.02747; Liu et al. 2022, arXiv 2209.03003), and its flow is followed from noise to data
(`vaekit.diffusion.samplers`).
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

REFERENCE_DIMENSION = 4 * 32 * 32
"""Values of a latent for which times are not shifted: those of a 256x256 image in SD1's latent space, on which the
logit-normal distribution and the plain schedules of DiT and SiT were tuned (RAE, arXiv 2510.11690, takes it as the
reference, too)."""


def time_shift(dimension: int) -> float:
    """The shift of times for latents of this many values, sqrt(m / n) (Esser et al. 2024, arXiv 2403.03206, section
    5.3.2): the values of a larger latent repeat each other more, so that the same amount of noise hides less.

    Below the reference it is 1: shifted towards data, the noisiest times, at which it is decided what an item shows,
    would hardly be trained: 1 in 10,000 samples of a latent with 64 values.

    >>> time_shift(16 * 128 * 128), time_shift(4 * 7 * 7)
    (8.0, 1.0)
    """
    return max(1.0, math.sqrt(dimension / REFERENCE_DIMENSION))


def shifted(t: Tensor, shift: float) -> Tensor:
    """Times in [0, 1], moved towards noise by a shift above 1 (arXiv 2403.03206, equation 23).

    >>> shifted(torch.tensor([0.0, 0.5, 1.0]), 3.0).tolist()
    [0.0, 0.75, 1.0]
    """
    return shift * t / (1 + (shift - 1) * t)


@dataclass(frozen=True)
class Times:
    """The distribution of the times of training: logit-normal (arXiv 2403.03206, section 3.1), then shifted."""

    mean: float = 0.0
    """Of logit(t); above 0 for more noise."""
    std: float = 1.0
    shift: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and 0 <= self.std < math.inf and 0 < self.shift < math.inf):
            raise ValueError("times have a finite mean, a standard deviation from 0 on, and a positive shift")

    def sample(self, count: int, generator: Generator) -> Tensor:
        """Times (count,), on the device of the generator."""
        normal = torch.randn(count, generator=generator, device=generator.device)
        return shifted(torch.sigmoid(self.mean + self.std * normal), self.shift)


def on_path(x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """The points x_t between x (b, ...) and noise at times (b,)."""
    t = t.view(-1, *[1] * (x.dim() - 1))
    return (1 - t) * x + t * noise

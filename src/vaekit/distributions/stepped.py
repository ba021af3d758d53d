"""The posterior of a codec: uniform noise in the place of rounding, with the step of rounding in the latents.

The last channel of moments and latents is the binary logarithm of the step, equal at all positions of an item. So
latents say how finely they were rounded, and a decoder and a prior can depend on it.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from vaekit.distributions.base import Prior, sum_items
from vaekit.shapes import PerItem


@dataclass(frozen=True)
class SteppedUniform:
    """q(z|x) is uniform within half a step around the encoder's output (Balle et al. 2017, arXiv 1611.01704, eq. 12).

    With the likelihood's variance set to that of the noise, step^2 / 12, the negative ELBO is the rate, plus the
    distortion divided by the slope that a uniform quantizer has at high rates.
    """

    mean: Tensor
    """(b, z, ...): values, and in the last channel the binary logarithm of the step."""

    @property
    def mode(self) -> Tensor:
        return self.mean

    def sample(self, generator: Generator | None = None) -> Tensor:
        values, log_step = split_step(self.mean)
        device = values.device if generator is None else generator.device
        noise = torch.rand(values.shape, generator=generator, device=device).to(values) - 0.5
        return torch.cat([values + noise * torch.exp2(log_step), log_step], dim=1)

    def log_prob(self, z: Tensor) -> PerItem:
        """-log(step) for each value within the noise; -inf for all others, or another step."""
        values, log_step = split_step(self.mean)
        others, other_step = split_step(z)
        outside = ((others - values).abs() > 0.5 * torch.exp2(log_step)).flatten(1).any(dim=1)
        outside |= (log_step != other_step).flatten(1).any(dim=1)
        density = -math.log(2) * sum_items(log_step) * values.shape[1]
        return density.masked_fill(outside, -math.inf)

    def kl(self, prior: Prior, generator: Generator | None = None) -> PerItem:
        """From one sample: the nats of a code for it."""
        z = self.sample(generator)
        return -math.log(2) * sum_items(self.mean[:, -1:]) * (self.mean.shape[1] - 1) - prior.log_prob(z)


def split_step(z: Tensor) -> tuple[Tensor, Tensor]:
    """Latents (b, z, ...) as values (b, z - 1, ...) and the binary logarithm of the step (b, 1, ...)."""
    return z[:, :-1], z[:, -1:]

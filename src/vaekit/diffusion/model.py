"""The model: a net that predicts velocities of normalized latents, and what embeds its conditions.

Latents are normalized by the mean and standard deviation of the training latents, one of each per channel, as the
normalization of a VAE may be unknown, and one scale for all channels fits few of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vaekit.diffusion.batches import ChannelStatistics
from vaekit.diffusion.conditions import ConditionConfig
from vaekit.nets.denoising import NetConfig
from vaekit.nets.dit import DiTConfig
from vaekit.nets.unet import UNetConfig

NETS: Mapping[str, type[Any]] = {"dit": DiTConfig, "unet": UNetConfig}


@dataclass(frozen=True)
class ModelConfig:
    """The architecture of a model."""

    net: NetConfig
    condition: ConditionConfig

    def build(self, statistics: ChannelStatistics | None = None) -> "DiffusionModel":
        """A model with random weights, drawn from torch's global generator.

        Args:
            statistics: of the training latents; None to load them with the weights.
        """
        return DiffusionModel(self, statistics)


class DiffusionModel(nn.Module):
    """Noisy normalized latents (b, z, ...), times (b,) in [0, 1], conditions (b, ...) -> velocities (b, z, ...)."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: ModelConfig, statistics: ChannelStatistics | None = None) -> None:
        super().__init__()
        self.config = config
        self.conditioner = config.condition.build(config.net.embedding)
        self.net = config.net.build(config.condition.has_context)
        channels = config.net.shape[0]
        given = statistics or ChannelStatistics((0.0,) * channels, (1.0,) * channels)
        for name, values in (("mean", given.mean), ("std", given.std)):
            self.register_buffer(name, torch.tensor(values).view(-1, *[1] * (len(config.net.shape) - 1)))

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        return self.net(x, t, self.conditioner(condition))

    def normalize(self, raw: Tensor) -> Tensor:
        """Raw latents (b, z, ...) with mean 0 and standard deviation 1 over the training data."""
        return (raw - self.mean) / self.std

    def denormalize(self, latents: Tensor) -> Tensor:
        """The inverse of `normalize`."""
        return latents * self.std + self.mean


def guided_velocity(
    model: DiffusionModel, condition: Tensor | None, other: Tensor | None, scale: float
) -> Callable[[Tensor, Tensor], Tensor]:
    """The velocity under classifier-free guidance, (points (b, ...), times (b,)) -> (b, ...): away from another
    condition, by default none (arXiv 2207.12598, equation 6).

    Args:
        model: in evaluation mode.
        condition: of the items, (b, ...); None for a model without conditions.
        other: what to move away from, (b, ...).
        scale: 1 is the condition alone, 0 the other one alone; above 1 moves away from the other one.
    """
    if condition is None or other is None or scale == 1:
        return lambda x, t: model(x, t, condition)
    if scale == 0:
        return lambda x, t: model(x, t, other)

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        towards, away = model(x.repeat(2, *[1] * (x.dim() - 1)), t.repeat(2), torch.cat([condition, other])).chunk(2)
        return away + scale * (towards - away)

    return velocity

"""The network of `meaning`: latents to vectors."""

import hashlib

import torch
from torch import Tensor, nn

from vaekit.shapes import AnyLatents

WIDTH = 64
"""Channels of its first layers."""
DIMENSION = 128
"""Values of a vector."""
POSITIONS = 8
"""The maximum number of latent positions along each axis of a map; larger maps are averaged."""


class Standardize(nn.Module):
    """Latents (b, z, ...) minus the mean, divided by the standard deviation of each channel over data."""

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    def fit(self, z: AnyLatents) -> None:
        """Set mean and standard deviation to those of latents; channels that do not vary keep their scale."""
        values = z.transpose(0, 1).flatten(1)
        std = values.std(dim=1, correction=0)
        self.mean.copy_(values.mean(dim=1))
        self.std.copy_(std.where(std > 0, torch.ones(())))

    def forward(self, z: AnyLatents) -> Tensor:
        return (z - self.per_channel(self.mean, z)) / self.per_channel(self.std, z)

    @staticmethod
    def per_channel(values: Tensor, z: AnyLatents) -> Tensor:
        """One value per channel, in a shape that fits latents."""
        return values.view(1, -1, *[1] * (z.dim() - 2))


class Head(nn.Module):
    """Standardized latents to vectors: convolutions and averages for maps, dense layers for others.

    Args:
        shape: of one latent, channels first.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.standardize = Standardize(shape[0])
        is_map = len(shape) == 3 and min(shape[1:]) > 1
        self.features = map_features(shape[0], min(shape[1:])) if is_map else vector_features(shape)
        self.out = nn.Linear(2 * WIDTH, DIMENSION)

    def forward(self, z: AnyLatents) -> Tensor:
        """Latents (b, z, ...) -> (b, 128), of any length."""
        return self.out(self.features(self.standardize(z)))


def map_features(channels: int, side: int) -> nn.Sequential:
    """Convolutions on a latent map of at least this side, then the average of each channel."""
    layers: list[nn.Module] = [nn.AdaptiveAvgPool2d(POSITIONS)] if side > POSITIONS else []
    stride = 2 if side >= POSITIONS else 1
    for given, made, step in ((channels, WIDTH, 1), (WIDTH, WIDTH, stride), (WIDTH, 2 * WIDTH, 1)):
        layers += [nn.Conv2d(given, made, 3, step, 1, bias=False), nn.BatchNorm2d(made), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def vector_features(shape: tuple[int, ...]) -> nn.Sequential:
    """Dense layers on a flattened latent."""
    values = torch.Size(shape).numel()
    layers: list[nn.Module] = [nn.Flatten()]
    for given, made in ((values, 2 * WIDTH), (2 * WIDTH, 2 * WIDTH)):
        layers += [nn.Linear(given, made, bias=False), nn.BatchNorm1d(made), nn.ReLU()]
    return nn.Sequential(*layers)


def digest_of(head: Head) -> str:
    """SHA-256 of the weights."""
    hashed = hashlib.sha256()
    for name, tensor in sorted(head.state_dict().items()):
        hashed.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return hashed.hexdigest()

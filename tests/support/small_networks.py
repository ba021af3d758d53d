"""Networks of a few layers, each for one thing that a schedule has to take care of."""

from collections.abc import Callable

import torch
from family_halves import Half, half_of
from row_interpreter import Net
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.runtime.streaming.lowering_rules import lower
from vaekit.runtime.streaming.schedule import Stages, staged

CHANNELS = 4
FACTOR = 4
"""Rows of an input for each of the latent, so that a network may halve them twice."""


class Residual(nn.Module):
    """Two normed convolutions beside a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(2, 8), nn.GroupNorm(4, 16)
        self.conv1, self.conv2 = nn.Conv2d(8, 16, 3, padding=1), nn.Conv2d(16, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))


class Attention(nn.Module):
    """Attention of all positions, beside a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(2, 4)
        self.q, self.k, self.v, self.out = (nn.Conv2d(4, 4, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        q, k, v = (each(normed).flatten(2).transpose(1, 2) for each in (self.q, self.k, self.v))
        return x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).unflatten(2, x.shape[2:]))


class Hourglass(nn.Module):
    """Down and up again, with a shortcut over both."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(4, 8, 3, 2, 1)
        self.mid = nn.Conv2d(8, 8, 3, padding=1)
        self.up = nn.Conv2d(8, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        small = self.mid(F.silu(self.down(x)))
        return x + self.up(F.interpolate(small, scale_factor=2.0))


class TwoBranches(nn.Module):
    """A map that is read by two convolutions of different reach, and by a function that needs all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.first = nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 3, padding=1)
        self.near, self.far = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 5, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        made = self.first(self.start(x))
        return F.relu(self.near(made)) + self.far(made) + self.near(torch.flip(made, (2,)))


class NearAndFar(nn.Module):
    """A map that is read by convolutions of different reach in one stage."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 3, padding=1)
        self.near, self.far = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        made = self.second(self.first(x))
        return self.near(made) + self.far(made) + made


def networks() -> dict[str, nn.Module]:
    """All of them, with the same random weights each time."""
    torch.manual_seed(0)
    made: dict[str, nn.Module] = {
        "one convolution": nn.Conv2d(4, 5, 3, padding=1),
        "convolutions": nn.Sequential(nn.Conv2d(4, 16, 3, padding=1), nn.SiLU(), nn.Conv2d(16, 4, 3, padding=1)),
        "reflecting": nn.Sequential(
            nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), nn.Conv2d(6, 4, 5, padding=2, padding_mode="reflect")
        ),
        "residual": nn.Sequential(nn.Conv2d(4, 8, 1), Residual(), Residual()),
        "attention": nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), Attention()),
        "down": nn.Sequential(nn.Conv2d(4, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1)),
        "up": nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.Upsample(scale_factor=2), nn.Conv2d(8, 3, 3, padding=1)),
        "shuffled": nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(16, 16, 3, padding=1), nn.PixelShuffle(2)),
        "hourglass": Hourglass(),
        "two branches": TwoBranches(),
        "near and far": NearAndFar(),
        "rows that are summed": Net(lambda x: x * x.flatten(2).sum(-1)[..., None, None]),
        "only pointwise": nn.Sequential(nn.SiLU(), nn.Hardswish()),
    }
    return made


NAMES = tuple(networks())


def small_half(name: str) -> Half:
    """A network, traced."""
    network = networks()[name].eval()
    if next(network.parameters(), None) is None:
        network.register_parameter("unused", nn.Parameter(torch.zeros(1)))  # tells the dtype
    return half_of(network, CHANNELS, FACTOR)


def stages_of(half: Half, h: int = 3, w: int = 2) -> Stages:
    """What is run for a latent of so many rows and columns."""
    return staged(*lower(half.watched, h, w, {}))


def each_network() -> Callable[[str], Half]:
    """A function that traces each network once."""
    known: dict[str, Half] = {}
    return lambda name: known.get(name) or known.setdefault(name, small_half(name))

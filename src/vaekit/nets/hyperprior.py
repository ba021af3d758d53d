"""A prior over latent maps that has latents of its own: the mean-scale hyperprior, with slices of channels.

The prior of a latent map y is a Gaussian for each value. Its mean and scale are functions of a smaller map h, which has
a Gaussian prior for each channel (Balle et al. 2018, arXiv 1802.01436; Minnen et al. 2018, arXiv 1809.02736), and of
the channels of y that come before (Minnen & Singh 2020, arXiv 2007.08739). There is no context within a slice of
channels, so that a map is decoded in as many steps as there are slices.

The last channel of latents is the binary logarithm of the step to which values are rounded (see
`vaekit.distributions.stepped`). In training, uniform noise takes the place of rounding.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.distributions import Posterior
from vaekit.distributions.base import sum_items
from vaekit.distributions.stepped import split_step
from vaekit.shapes import PerItem

REDUCTION = 4
"""Positions of y along an axis for each position of h."""
LEAST_LOG_SCALE, LEVELS, LEVELS_PER_OCTAVE = -3.0, 64, 6
"""Scales in units of the step are 2^(-3 + k / 6) for k from 0 to 63: from 1/8 to 181."""
LEAST_MASS = 1e-9
"""Added to probabilities, for finite logarithms."""


@dataclass(frozen=True)
class HyperpriorConfig:
    """The nets of a hyperprior."""

    slices: tuple[int, ...]
    """The channels of y in each slice, in the order of coding."""
    hidden: int = 96
    """The width of the nets between y and h, and of the features that h gives at each position of y."""
    summary_channels: int = 48
    """The channels of h."""
    slice_width: int = 96
    """The width of the nets of slices."""

    @property
    def channels(self) -> int:
        """Of y, without that of the step."""
        return sum(self.slices)

    @property
    def bounds(self) -> list[tuple[int, int]]:
        """The first channel of each slice, and the one behind its last."""
        return list(pairwise([0, *accumulate(self.slices)]))


@dataclass(frozen=True)
class HyperpriorOf:
    """p(z) of latents with a step."""

    net: "Hyperprior"

    def log_prob(self, z: Tensor) -> PerItem:
        """A lower bound of log p(z): one sample of uniform noise on h, from torch's global generator, while the net is
        trained, as for dropout; h rounded otherwise. z is (b, c + 1, i, j)."""
        values, log_step = split_step(z)
        h = self.net.summary(values, log_step)
        h = h + torch.rand_like(h) - 0.5 if self.net.training else torch.round(h - self.net.mean) + self.net.mean
        total = sum_items(log_mass(h - self.net.mean, self.net.log_scale))
        features = self.net.features(h)[..., : z.shape[2], : z.shape[3]]
        for (first, end), (mean, log_scale) in zip(
            self.net.config.bounds, self.net.moments(features, values, log_step), strict=True
        ):
            relative = (values[:, first:end] - mean) * torch.exp2(-log_step)
            total = total + sum_items(log_mass(relative, log_scale - log_step))
        # The density of a value with noise is its mass divided by the step.
        return total - torch.log(torch.tensor(2.0)).item() * sum_items(log_step) * values.shape[1]


class Hyperprior(nn.Module):
    """The nets of the prior: a function from a VAE's `encode`, which it does not need, to p(z).

    Values are given to the nets in units of `unit`, one for each channel.
    """

    unit: Tensor

    def __init__(self, config: HyperpriorConfig) -> None:
        super().__init__()
        self.config = config
        width, out = config.hidden, config.summary_channels
        self.register_buffer("unit", torch.ones(config.channels))
        self.mean = nn.Parameter(torch.zeros(out, 1, 1))
        self.log_scale = nn.Parameter(torch.ones(out, 1, 1))
        self.analysis = nn.Sequential(
            nn.Conv2d(config.channels + 1, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, out, 4, stride=2, padding=1),
        )
        self.synthesis = nn.Sequential(
            nn.Conv2d(out, 4 * width, 3, padding=1),
            nn.PixelShuffle(2),
            nn.ReLU(),
            nn.Conv2d(width, 4 * width, 3, padding=1),
            nn.PixelShuffle(2),
            nn.ReLU(),
        )
        self.slices = nn.ModuleList(
            slice_net(width + 1 + first, config.slice_width, 2 * (end - first)) for first, end in config.bounds
        )

    @torch.no_grad()
    def set_units(self, unit: Tensor) -> None:
        """Set the units (c,), and the scales that all values have at first."""
        self.unit.copy_(unit)
        for (first, end), net in zip(self.config.bounds, self.slices, strict=True):
            last = net[-1] if isinstance(net, nn.Sequential) else net
            assert isinstance(last, nn.Conv2d) and last.bias is not None
            last.bias[end - first :] = unit[first:end].log2()

    def forward(self, _: Callable[[Tensor], Posterior]) -> HyperpriorOf:
        return HyperpriorOf(self)

    def summary(self, values: Tensor, log_step: Tensor) -> Tensor:
        """h (b, s, i / 4, j / 4) of values y (b, c, i, j), not rounded; sizes are rounded up."""
        h = torch.cat([values / self.unit[:, None, None], log_step], dim=1)
        missing = [-extent % REDUCTION for extent in h.shape[2:]]
        return self.analysis(F.pad(h, (0, missing[1], 0, missing[0]), mode="replicate"))

    def features(self, h: Tensor) -> Tensor:
        """What h says of each position of y, (b, f, i, j), and of those that were added to a whole number of four."""
        return self.synthesis(h)

    def moments(self, features: Tensor, values: Tensor, log_step: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The mean of each slice, and the binary logarithm of its scale, both (b, n, i, j), given all values."""
        unit = self.unit[:, None, None]
        relative = values / unit
        for (first, end), net in zip(self.config.bounds, self.slices, strict=True):
            mean, log_scale = net(torch.cat([features, log_step, relative[:, :first]], dim=1)).chunk(2, dim=1)
            yield mean * unit[first:end], log_scale


def slice_net(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """The net of a slice, whose outputs are means in units, and binary logarithms of scales. At first all are 0."""
    last = nn.Conv2d(width, outputs, 1)
    nn.init.zeros_(last.weight)
    assert last.bias is not None
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Conv2d(inputs, width, 1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), last)


def log_mass(x: Tensor, log_scale: Tensor) -> Tensor:
    """The logarithm of a Gaussian's mass within half a step of values x, in nats; `log_scale` is that of its standard
    deviation, to base 2, and both are in units of the step."""
    inverse = torch.exp2(-log_scale.clamp(LEAST_LOG_SCALE, LEAST_LOG_SCALE + (LEVELS - 1) / LEVELS_PER_OCTAVE))
    # Both ends are in the lower tail, where differences are exact.
    distance = x.abs()
    upper = torch.special.ndtr((0.5 - distance) * inverse)
    lower = torch.special.ndtr((-0.5 - distance) * inverse)
    return torch.log(upper - lower + LEAST_MASS)

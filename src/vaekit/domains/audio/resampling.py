"""Change sample rates with a windowed sinc, exactly in parts: any range of the result from the samples around it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

ZEROS = 32
"""Zero crossings of the sinc on each side of its center."""
BETA = 12.0
"""Of the Kaiser window: about 115 dB of attenuation."""
ROLLOFF = 0.95
"""The cutoff frequency, as a share of half the lower sample rate."""
TABLE = 2**22
"""Weights that are kept; of odd ratios, they are computed for each block."""
AT_ONCE = 2**22
"""Products of samples and weights that are in memory together."""

Read = Callable[[int, int], Float[Tensor, "c n"]]
"""(start, stop) -> the samples of a range, (channels, stop - start)."""


@dataclass(frozen=True)
class Resampler:
    """A conversion from one sample rate to another.

    Sample j of the result is the signal at the time j / target, and there are ceil(n * target / source) of them.
    """

    source: int
    target: int

    def length(self, samples: int) -> int:
        """The number of samples of the result.

        >>> Resampler(44_100, 8_000).length(44_101), Resampler(8_000, 44_100).length(8_000)
        (8001, 44100)
        """
        return -(-samples * self.target // self.source)

    @property
    def step(self) -> tuple[int, int]:
        """Source samples per sample of the result, as a fraction."""
        common = math.gcd(self.source, self.target)
        return self.source // common, self.target // common

    @cached_property
    def reach(self) -> int:
        """Source samples on each side of a sample of the result that it depends on."""
        return math.ceil(ZEROS * max(1.0, self.source / self.target) / ROLLOFF)

    def range(self, read: Read, samples: int, start: int, stop: int) -> Float[Tensor, "c n"]:
        """A range of the result, (channels, stop - start).

        Args:
            read: reads a range of the source.
            samples: the number of samples of the source, which is continued with zeros on both sides.
            start, stop: of the result.
        """
        block = max(1, AT_ONCE // (2 * self.reach))
        parts = [self._block(read, samples, each, min(each + block, stop)) for each in range(start, stop, block)]
        return torch.cat(parts, dim=1)

    def __call__(self, x: Float[Tensor, "c n"]) -> Float[Tensor, "c m"]:
        """All of a signal."""
        return self.range(lambda start, stop: x[:, start:stop], x.shape[1], 0, self.length(x.shape[1]))

    def _block(self, read: Read, samples: int, start: int, stop: int) -> Tensor:
        up, down = self.step
        numerators = torch.arange(start, stop) * up
        centers, phases = numerators // down, numerators % down
        first, last = int(centers[0]) - self.reach + 1, int(centers[-1]) + self.reach + 1
        inside = (max(0, first), max(0, min(samples, last)))
        x = read(*inside)
        x = torch.nn.functional.pad(x, (inside[0] - first, last - max(inside)))
        windows = x.unfold(1, 2 * self.reach, 1)[:, centers - centers[0]]  # (c, block, taps)
        return (windows * self._weights(phases)).sum(dim=2)

    def _weights(self, phases: Tensor) -> Tensor:
        """The weights of the samples around each position, (n, taps)."""
        down = self.step[1]
        if down * 2 * self.reach <= TABLE:
            return phase_table(self.source, self.target, self.reach, down)[phases]
        return weights(phases, self.source, self.target, self.reach, down)


@lru_cache(maxsize=8)
def phase_table(source: int, target: int, reach: int, phases: int) -> Tensor:
    """The weights of all phases, (phases, taps)."""
    return weights(torch.arange(phases), source, target, reach, phases)


def weights(phases: Tensor, source: int, target: int, reach: int, count: int) -> Tensor:
    """The weights of the samples around a position between two samples, (n, 2 reach), in fp32. Their sum is 1.

    Args:
        phases: positions after the center sample, in parts of a sample.
        source, target: the sample rates.
        reach: samples on each side.
        count: the number of parts.
    """
    offsets = torch.arange(-reach + 1, reach + 1, dtype=torch.float64) - phases[:, None].double() / count
    cutoff = ROLLOFF * min(1.0, target / source)
    window = torch.special.i0(BETA * (1 - (offsets / reach).square()).clamp(min=0).sqrt())
    values = torch.sinc(cutoff * offsets) * window
    return (values / values.sum(dim=1, keepdim=True)).float()

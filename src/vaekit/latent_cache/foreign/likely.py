"""Which latents are likely in a file, raw or normalized ones, by the mean and standard deviation of their channels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

import torch
from torch import Tensor

from vaekit.catalog.entries import LatentStatistics as CatalogStatistics
from vaekit.catalog.entries import latent_space_named
from vaekit.latent_cache.foreign.records import Stored, StoredLatents, Variant
from vaekit.normalization import LatentNormalization

CLOSE, FAR, RATIO = 1.0, 0.5, 4.0
"""Another hypothesis is reported if latents are within CLOSE of it, and RATIO times as far from the expected one, and
farther by FAR; see `distance`."""
APART, APART_IN_FEW = 0.5, 2.0
"""Hypotheses that are closer to what is expected are not considered, for many images and for few. Raw and normalized
latents are 0.0 (HunyuanVideo 1.5), 0.1 (HunyuanImage), 0.4 to 0.6 (SD3), 1 (FLUX.1, Wan), 3 (SD1) and 4 (SDXL) apart.
The standard deviation of a single image may be half of what is usual, which is a distance of 0.5."""
MANY = 8
"""Images whose statistics together are those of a set."""
NEAR = 2.0
"""Latents that are farther from what is expected are probably of another VAE."""
FARTHEST_MEAN = 4.0
LEAST_POSITIONS = 64
"""Fewer latent positions are not judged by their statistics."""
SMALLEST = 1e-12
TWICE = "normalized twice"


@dataclass(frozen=True)
class ChannelStatistics:
    """Mean and standard deviation of each channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass
class ChannelSums:
    """Sums over the values of each channel of latents with the same channels."""

    count: int = 0
    total: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    squares: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))

    def add(self, latents: Tensor) -> None:
        """Add finite latents (c, ...); those with other channels than the first are ignored."""
        flat = latents.double().flatten(1)
        if not self.count:
            self.total = self.squares = torch.zeros(len(flat), dtype=torch.float64)
        if len(flat) == len(self.total):
            self.count += flat.shape[1]
            self.total = self.total + flat.sum(1)
            self.squares = self.squares + flat.square().sum(1)

    def statistics(self) -> ChannelStatistics:
        """Mean and standard deviation so far."""
        mean = self.total / max(self.count, 1)
        std = (self.squares / max(self.count, 1) - mean.square()).clamp_min(0).sqrt()
        return ChannelStatistics(tuple(mean.tolist()), tuple(std.tolist()))


def statistics_of(latents: Tensor) -> ChannelStatistics:
    """The statistics of one item."""
    sums = ChannelSums()
    sums.add(latents)
    return sums.statistics()


@dataclass(frozen=True)
class Hypothesis:
    """What latents may be, and how their channels would be distributed."""

    name: str
    statistics: ChannelStatistics


@dataclass(frozen=True)
class Expectation:
    """What the latents of a file should be, and what else they may be."""

    expected: tuple[Hypothesis, ...]
    """Several if the file does not tell the latent space."""
    others: tuple[Hypothesis, ...]

    @property
    def decidable(self) -> bool:
        """Whether statistics distinguish raw latents from normalized ones."""
        others = [other for other in self.others if other.name in tuple(Stored)]
        return any(
            all(distance(other.statistics, each.statistics) >= APART for each in self.expected) for other in others
        )

    def near(self, found: ChannelStatistics) -> bool:
        """Whether latents are distributed as expected, as far as that is known."""
        known = [each.statistics for each in self.expected if len(each.statistics.mean) == len(found.mean)]
        return not known or min(distance(found, each) for each in known) <= NEAR

    def unlike(self, found: ChannelStatistics, images: int) -> str | None:
        """What the latents are instead, as a phrase; None unless that is clear.

        Args:
            found: of the latents.
            images: how many they are of.
        """
        channels, apart = len(found.mean), APART if images >= MANY else APART_IN_FEW
        expected = [each.statistics for each in self.expected if len(each.statistics.mean) == channels]
        candidates = [each for each in self.others if len(each.statistics.mean) == channels]
        others = [
            (distance(found, each.statistics), each)
            for each in candidates
            if all(distance(each.statistics, wanted) >= apart for wanted in expected)
        ]
        if not expected or not others:
            return None
        nearest, other = min(others, key=lambda each: each[0])
        far = min(distance(found, each) for each in expected)
        if nearest > CLOSE or far - nearest < FAR or far < RATIO * nearest:
            return None
        names = " or ".join(dict.fromkeys(each.name for each in self.expected))
        return (
            f"the standard deviation of channels is {fmean(found.std):.3g}: that of latents that are {other.name} "
            f"({fmean(other.statistics.std):.3g}), not {names} ({fmean(self.expected[0].statistics.std):.3g})"
        )


def distance(found: ChannelStatistics, wanted: ChannelStatistics) -> float:
    """How far two distributions are apart.

    The mean over channels of the squared logarithm of the ratio of their standard deviations, and of the squared
    difference of means in units of the wanted standard deviation, up to a limit.
    """
    return fmean(
        math.log(max(s, SMALLEST) / max(wanted_s, SMALLEST)) ** 2
        + min(((m - wanted_m) / max(wanted_s, SMALLEST)) ** 2, FARTHEST_MEAN)
        for m, s, wanted_m, wanted_s in zip(found.mean, found.std, wanted.mean, wanted.std, strict=True)
    )


def expectation(
    variant: Variant, item: StoredLatents | None = None, given: LatentNormalization | None = None
) -> Expectation | None:
    """What the latents of a variant should be; None if nothing is known about them.

    Args:
        variant: of the file.
        item: latents of the file; their mark, if they have one, decides.
        given: the normalization of the VAE that the user names.
    """
    channels = 0 if item is None else len(item.latents)
    mark = None if item is None else item.mark
    known = normalizations(variant, given, channels)
    expected: list[Hypothesis] = []
    others: list[Hypothesis] = []
    for normalization, statistics in known:
        for hypothesis, stored in hypotheses(normalization, statistics, channels or variant.channels):
            (expected if stored is variant.stored else others).append(hypothesis)
    if mark is not None:
        expected = [Hypothesis(variant.stored, ChannelStatistics(mark.mean, mark.std))]
        others = [each for n, _ in known for each in around(mark.mean, mark.std, n, variant.stored)]
    return Expectation(tuple(expected), tuple(others)) if expected and others else None


def normalizations(
    variant: Variant, given: LatentNormalization | None, channels: int
) -> list[tuple[LatentNormalization, CatalogStatistics | None]]:
    """The normalizations that latents of a variant may have, and known statistics of raw latents."""
    spaces = [space for name in variant.spaces if (space := latent_space_named(name)) is not None]
    known = [(space.normalization, space.latents) for space in spaces if space.normalization is not None]
    if given is None:
        return known
    statistics = next((latents for n, latents in known if n.is_close(given, channels=channels)), None)
    return [(given, statistics)]


def hypotheses(
    normalization: LatentNormalization, statistics: CatalogStatistics | None, channels: int
) -> list[tuple[Hypothesis, Stored | None]]:
    """Latents of one space as they may be stored, and as which of the two ways.

    Args:
        normalization: of the space.
        statistics: of raw latents; if they are unknown, normalized latents are assumed to be standardized.
        channels: of the stored latents.
    """
    if channels % normalization.patch**2 or not normalization.fits(channels // normalization.patch**2):
        return []
    shift, scale = normalization.per_channel(channels // normalization.patch**2)
    if statistics is None or len(statistics.mean) * normalization.patch**2 != channels:
        mean, std = shift, tuple(1 / abs(each) for each in scale)
    else:
        mean, std = repeated(statistics.mean, normalization), repeated(statistics.std, normalization)
    return as_stored(mean, std, normalization, channels)


def as_stored(
    mean: Sequence[float], std: Sequence[float], normalization: LatentNormalization, channels: int
) -> list[tuple[Hypothesis, Stored | None]]:
    """Raw latents with these statistics, normalized ones, and those that were normalized twice by mistake."""
    once = applied(mean, std, normalization, channels)
    twice = applied(*once, normalization, channels)
    return [
        (Hypothesis(Stored.RAW, ChannelStatistics(tuple(mean), tuple(std))), Stored.RAW),
        (Hypothesis(Stored.NORMALIZED, ChannelStatistics(*once)), Stored.NORMALIZED),
        (Hypothesis(TWICE, ChannelStatistics(*twice)), None),
    ]


def around(
    mean: Sequence[float], std: Sequence[float], normalization: LatentNormalization, stored: Stored
) -> list[Hypothesis]:
    """What latents may be that should have these statistics, as stored: one normalization more or less."""
    channels = len(mean)
    if channels % normalization.patch**2 or not normalization.fits(channels // normalization.patch**2):
        return []
    more = applied(mean, std, normalization, channels)
    less = applied(mean, std, normalization, channels, inverse=True)
    names = {
        Stored.RAW: (Stored.NORMALIZED, "divided by their scale once too often"),
        Stored.NORMALIZED: (TWICE, Stored.RAW),
    }[stored]
    return [Hypothesis(name, ChannelStatistics(*each)) for name, each in zip(names, (more, less), strict=True)]


def applied(
    mean: Sequence[float],
    std: Sequence[float],
    normalization: LatentNormalization,
    channels: int,
    inverse: bool = False,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Statistics after the normalization of each channel, or before it."""
    shift, scale = normalization.per_channel(channels // normalization.patch**2)
    rows = list(zip(mean, std, shift, scale, strict=True))
    if inverse:
        return tuple(m / k + t for m, _, t, k in rows), tuple(s / abs(k) for _, s, _, k in rows)
    return tuple((m - t) * k for m, _, t, k in rows), tuple(s * abs(k) for _, s, _, k in rows)


def repeated(values: Sequence[float], normalization: LatentNormalization) -> tuple[float, ...]:
    """A value for each channel after rearrangement, which puts those of one channel side by side."""
    return tuple(value for value in values for _ in range(normalization.patch**2))


def measured(
    raw: Sequence[ChannelStatistics], variant: Variant, normalization: LatentNormalization, channels: int
) -> Expectation:
    """What latents of a variant should be if a VAE makes raw latents with one of these statistics."""
    rearranged = [each for each in raw if len(each.mean) * normalization.patch**2 == channels]
    candidates = [
        each
        for found in rearranged
        for each in as_stored(
            repeated(found.mean, normalization), repeated(found.std, normalization), normalization, channels
        )
    ]
    return Expectation(
        tuple(each for each, stored in candidates if stored is variant.stored),
        tuple(each for each, stored in candidates if stored is not variant.stored),
    )

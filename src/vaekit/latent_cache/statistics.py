"""Mean and standard deviation of the latents of a set, and the scale factor that they imply."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Sums:
    """Sums over the values of each channel of some latents. They add up over shards."""

    count: int
    """Values of a channel."""
    total: tuple[float, ...]
    squares: tuple[float, ...]
    """Of the squares of means."""
    variances: tuple[float, ...]
    """Of the variances of posteriors; zeros for posteriors without variance."""

    def as_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return {
            "count": self.count,
            "total": list(self.total),
            "squares": list(self.squares),
            "variances": list(self.variances),
        }

    @classmethod
    def from_json(cls, value: object) -> "Sums":
        """The inverse of `as_json`.

        Raises:
            ValueError: it is something else.
        """
        if not isinstance(value, Mapping) or type(value.get("count")) is not int or value["count"] < 0:
            raise ValueError("the sums of a shard make no sense")
        lists = [value.get(name) for name in ("total", "squares", "variances")]
        if not all(isinstance(each, list) and all(map(_is_finite, each)) for each in lists):
            raise ValueError("the sums of a shard make no sense")
        total, squares, variances = (tuple(map(float, each or ())) for each in lists)
        if not len(total) == len(squares) == len(variances):
            raise ValueError("the sums of a shard are of different channels")
        return cls(value["count"], total, squares, variances)


@dataclass(frozen=True)
class LatentStatistics:
    """Statistics of raw latents that are drawn from the posteriors of a set."""

    mean: tuple[float, ...]
    """Of each channel."""
    std: tuple[float, ...]
    """Standard deviation of each channel: of the means of posteriors, and their own variance."""
    overall_mean: float
    overall_std: float
    """Of all channels together."""
    values: int
    """The number of values of a channel."""

    @property
    def scale_factor(self) -> float:
        """The factor that gives latents a standard deviation of 1 (`scale_by_std` of LDM, Rombach et al. 2022)."""
        return 1 / self.overall_std if self.overall_std > 0 else math.inf


def sums_of(mean: Tensor, log_variance: Tensor | None) -> Sums:
    """The sums over latents (n, z, *latent); non-finite values count as 0."""
    channels, flat = mean.shape[1], _by_channel(mean)
    spread = None if log_variance is None else _by_channel(log_variance.double().exp())
    return Sums(
        flat.shape[1],
        tuple(flat.sum(1).tolist()),
        tuple(flat.square().sum(1).tolist()),
        (0.0,) * channels if spread is None else tuple(spread.sum(1).tolist()),
    )


def statistics_of(parts: Iterable[Sums]) -> LatentStatistics | None:
    """The statistics of several shards; None if they are empty, or of different channels."""
    filled = [part for part in parts if part.count]
    if not filled or len({len(part.total) for part in filled}) > 1:
        return None
    count = sum(part.count for part in filled)
    totals, squares, variances = (
        [math.fsum(values) for values in zip(*(getattr(part, name) for part in filled), strict=True)]
        for name in ("total", "squares", "variances")
    )
    mean = [total / count for total in totals]
    spread = [s / count - m**2 + v / count for s, m, v in zip(squares, mean, variances, strict=True)]
    channels = len(mean)
    overall = math.fsum(mean) / channels
    between = math.fsum((m - overall) ** 2 for m in mean) / channels
    return LatentStatistics(
        tuple(mean), _roots(spread), overall, _roots([math.fsum(spread) / channels + between])[0], count
    )


def _by_channel(values: Tensor) -> Tensor:
    """Latents (n, z, *latent) as (z, values), without non-finite ones."""
    return values.double().nan_to_num(0, 0, 0).transpose(0, 1).reshape(values.shape[1], -1)


def _roots(variances: Sequence[float]) -> tuple[float, ...]:
    """Standard deviations; rounding can make a variance of zero negative."""
    return tuple(math.sqrt(max(0.0, variance)) for variance in variances)


def _is_finite(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]

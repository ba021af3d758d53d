"""What a cache holds after a run, and what the run did."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vaekit.latent_cache.shard_files import Rejected
from vaekit.latent_cache.statistics import LatentStatistics
from vaekit.latent_cache.steps import CodingSteps
from vaekit.normalization import LatentNormalization
from vaekit.tasks.cache_checks import RoundingLoss, Verification


@dataclass(frozen=True, eq=False)
class CacheResult:
    """A cache after a run."""

    folder: Path
    items: int
    """Items of the data set."""
    cached: int
    """Items with latents."""
    encoded: int
    """Items that were encoded in this run."""
    repeats: int
    """Items with the content of an earlier one."""
    rejected: Sequence[Rejected]
    """Items without latents, with reasons."""
    changed: Sequence[str]
    """Items that changed during the run."""
    redone: int
    """Items that were encoded again in fp32."""
    shards: int
    """Finished shards."""
    unfinished: int
    """Shards that are left to other processes."""
    nbytes: int
    """Of all shards."""
    dtype: str
    sizes: Mapping[str, int]
    """The number of items in each size."""
    enlarged: int
    """Images that were smaller than their bucket."""
    seconds: float
    statistics: LatentStatistics | None = None
    normalization: LatentNormalization | None = None
    """Of the VAE."""
    steps: CodingSteps | None = None
    """To which coded latents are rounded; None for other dtypes."""
    rounding: RoundingLoss | None = None
    verification: Verification | None = None
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def rate(self) -> float:
        """Encoded items per second."""
        return self.encoded / max(self.seconds, 1e-9)

    @property
    def is_sound(self) -> bool:
        """Whether verification found no difference."""
        return self.verification is None or not self.verification.different

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        statistics, rounding = self.statistics, self.rounding
        normalization = self.normalization
        return {
            "cache": self.folder,
            "items": self.items,
            "cached": self.cached,
            "encoded": self.encoded,
            "repeats": self.repeats,
            "redone_in_fp32": self.redone,
            "quarantine": [asdict(each) for each in self.rejected],
            "changed": list(self.changed),
            "shards": self.shards,
            "unfinished_shards": self.unfinished,
            "bytes": self.nbytes,
            "dtype": self.dtype,
            "sizes": self.sizes,
            "enlarged": self.enlarged,
            "seconds": self.seconds,
            "items_per_second": self.rate,
            "statistics": None
            if statistics is None
            else {**asdict(statistics), "scale_factor": statistics.scale_factor},
            "normalization": None if normalization is None else normalization.as_json(),
            "steps": None if self.steps is None else self.steps.as_json(),
            "rounding": None if rounding is None else {**asdict(rounding), "loss": rounding.loss},
            "verification": None if self.verification is None else asdict(self.verification),
            "notes": list(self.notes),
        }

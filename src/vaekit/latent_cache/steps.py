"""`coding.json`: the steps to which a cache of coded latents rounds, one for each channel.

They are found once, before anything is encoded, and never changed: the same command goes on with them.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vaekit.atomic import atomic_file
from vaekit.errors import BadCache, printable, reason_of
from vaekit.json import dumps
from vaekit.latent_cache.description import CacheDescription
from vaekit.reading import exists, read_json

CODING = "coding.json"
VERSION = 1
LOG_VARIANCE_STEP = 0.5
"""Rounding to it changes standard deviations by 13 % at most and 7 % RMS: step^2 / 48 = 0.005 nats of KL divergence for
each value."""


@dataclass(frozen=True)
class CodingSteps:
    """To what latents are rounded before they are coded."""

    mean: tuple[float, ...]
    """The step of each channel of means."""
    log_variance: float = LOG_VARIANCE_STEP
    items: int = 0
    """Items that were decoded to find the steps; 0 if they follow from standard deviations alone."""
    loss: float = 0.0
    """dB of PSNR that rounding costs these items after the decoder."""

    def as_json(self) -> dict[str, Any]:
        """As `coding.json` holds it."""
        return {"version": VERSION, **asdict(self), "mean": list(self.mean)}

    @classmethod
    def from_json(cls, value: object) -> "CodingSteps":
        """The inverse of `as_json`.

        Raises:
            ValueError: it is something else.
        """
        if not isinstance(value, Mapping) or value.get("version") != VERSION:
            raise ValueError(f"it is no record of version {VERSION}")
        mean, log_variance, loss, items = (value.get(name) for name in ("mean", "log_variance", "loss", "items"))
        if not isinstance(mean, list) or not mean or not all(map(_is_step, [*mean, log_variance])):
            raise ValueError("the steps are no positive numbers")
        if type(items) is not int or type(loss) not in (int, float) or not math.isfinite(loss):  # type: ignore[arg-type]
            raise ValueError("the measured loss is no number")
        return cls(tuple(map(float, mean)), float(log_variance), items, float(loss))  # type: ignore[arg-type]


def read_steps(folder: Path, description: CacheDescription) -> CodingSteps | None:
    """The steps of a cache; None if they have not been found yet.

    Raises:
        BadCache: the file is damaged.
    """
    path = folder / CODING
    if not exists(path):
        return None
    try:
        steps = CodingSteps.from_json(read_json(path))
        if len(steps.mean) != description.origin.geometry.latent_channels:
            raise ValueError("the steps are of another number of channels")
    except (OSError, ValueError) as error:
        raise BadCache(
            f"{path} is damaged: {printable(reason_of(error), 200)}.",
            "Expected a step for each channel.",
            "Cache the data again in another folder; the finished shards of this one can still be read.",
        ) from error
    return steps


def write_steps(folder: Path, steps: CodingSteps) -> None:
    """Write the steps of a new cache.

    Raises:
        CannotWrite: the disk is full, or the folder is not writable.
    """
    with atomic_file(folder / CODING) as part:
        part.write_text(dumps(steps.as_json()) + "\n", "utf-8")


def _is_step(value: object) -> bool:
    return type(value) in (int, float) and 1e-30 < value < 1e30  # type: ignore[operator]

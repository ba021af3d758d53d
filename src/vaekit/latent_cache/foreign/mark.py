"""The mark that vaekit adds to files of other programs: which VAE made the latents, and how they are distributed.

Loaders of those programs ignore it. An audit of such a file compares with the statistics of the whole cache that it
came from, instead of those of the latent space that the program expects.
"""

import json
import math
from dataclasses import dataclass

from vaekit.checkpoints.latent_files import FINGERPRINT

KEY = "vaekit_origin"
"""Its name among tensors or metadata."""
LONGEST = 2**17
"""The maximum number of characters of a mark."""
DIGITS = 5
"""Significant digits of statistics."""


@dataclass(frozen=True)
class OriginMark:
    """The VAE that made latents, and the mean and standard deviation of each of their channels, as stored."""

    fingerprint: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def as_text(self) -> str:
        """For the file."""
        rounded = {name: [float(f"{each:.{DIGITS}g}") for each in getattr(self, name)] for name in ("mean", "std")}
        return json.dumps({"fingerprint": self.fingerprint, **rounded})


def mark_from(text: str) -> OriginMark | None:
    """The inverse of `OriginMark.as_text`; None for anything else: a program may have changed it."""
    if len(text) > LONGEST:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    fingerprint, mean, std = (value.get(name) for name in ("fingerprint", "mean", "std"))
    if not isinstance(fingerprint, str) or not FINGERPRINT.fullmatch(fingerprint):
        return None
    means, stds = finite_numbers(mean), finite_numbers(std)
    if means is None or stds is None or len(means) != len(stds) or min(stds) <= 0:
        return None
    return OriginMark(fingerprint, means, stds)


def finite_numbers(value: object) -> tuple[float, ...] | None:
    """A non-empty list of finite numbers as a tuple; None for anything else."""
    if not isinstance(value, list) or not value:
        return None
    if not all(type(each) in (int, float) and abs(each) < 1e30 and math.isfinite(each) for each in value):
        return None
    return tuple(map(float, value))

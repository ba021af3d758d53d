"""Identity of a set of weights: fingerprints and sketches, as a plain record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Identity:
    """What weights are known by. Halves that are absent are not listed."""

    fingerprint: str
    """Of all tensors: 64 hexadecimal digits."""
    halves: Mapping[str, str] = field(default_factory=dict)
    """The fingerprint of the encoder's tensors alone, and the decoder's: that of a file with this half only."""
    sketches: Mapping[str, str] = field(default_factory=dict)
    """The sketch of each half: 4 hexadecimal digits for each bucket."""
    rounded_to: tuple[str, ...] = ()
    """Formats of half precision that hold every value exactly: "float16", "bfloat16"."""


def as_json(weights: Identity) -> dict[str, Any]:
    """A value that JSON can hold."""
    return {
        "fingerprint": weights.fingerprint,
        "halves": dict(weights.halves),
        "sketches": dict(weights.sketches),
        "rounded_to": list(weights.rounded_to),
    }


def from_json(told: Mapping[str, Any]) -> Identity:
    """The inverse of `as_json`; what is not told is empty."""
    return Identity(
        told["fingerprint"], told.get("halves", {}), told.get("sketches", {}), tuple(told.get("rounded_to", ()))
    )

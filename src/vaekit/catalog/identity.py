"""The identity of a set of weights: fingerprints and sketches, as a plain record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Identity:
    """The fingerprints and sketches of weights. Absent halves are not listed."""

    fingerprint: str
    """The SHA-256 over all tensors: 64 hexadecimal digits."""
    halves: Mapping[str, str] = field(default_factory=dict)
    """The fingerprints of the encoder's and the decoder's tensors: those of files with one half only."""
    sketches: Mapping[str, str] = field(default_factory=dict)
    """The sketch of each half: 4 hexadecimal digits for each bucket."""
    rounded_to: tuple[str, ...] = ()
    """Formats of half precision that hold every value exactly: "float16", "bfloat16"."""


def as_json(weights: Identity) -> dict[str, Any]:
    """A JSON-compatible value."""
    return {
        "fingerprint": weights.fingerprint,
        "halves": dict(weights.halves),
        "sketches": dict(weights.sketches),
        "rounded_to": list(weights.rounded_to),
    }


def from_json(value: Mapping[str, Any]) -> Identity:
    """The inverse of `as_json`; missing keys are empty."""
    return Identity(
        value["fingerprint"], value.get("halves", {}), value.get("sketches", {}), tuple(value.get("rounded_to", ()))
    )

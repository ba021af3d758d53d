"""Padding of convolutions: a choice in some families, on which no weight depends.

Apart from the nets, because files, probes and messages speak of it too.
"""

from collections.abc import Mapping
from typing import Any

ZEROS, REFLECT = PADDINGS = ("zeros", "reflect")
"""What surrounds a map where a 3x3 convolution looks over its edge, in torch's words; the customary one first."""


def told_padding(metadata: Mapping[str, Any], settings: Mapping[str, Any]) -> str | None:
    """The padding that vaekit's metadata or a config.json states, "zeros" or "reflect"; None where neither does."""
    told = (metadata.get("padding"), settings.get("padding_mode"))
    return next((mode for mode in told if isinstance(mode, str) and mode in PADDINGS), None)

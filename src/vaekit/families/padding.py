"""Padding of convolutions: a choice in some families that weights do not determine.

A module of its own because files, probes and messages need it, too.
"""

from collections.abc import Mapping
from typing import Any

ZEROS, REFLECT = PADDINGS = ("zeros", "reflect")
"""The padding modes of 3x3 convolutions, named as in torch; the most common first."""


def stated_padding(metadata: Mapping[str, Any], settings: Mapping[str, Any]) -> str | None:
    """The padding that vaekit's metadata or a config.json states, "zeros" or "reflect"; None if neither does."""
    stated = (metadata.get("padding"), settings.get("padding_mode"))
    return next((mode for mode in stated if isinstance(mode, str) and mode in PADDINGS), None)

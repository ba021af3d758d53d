"""What vaekit writes into the metadata of a safetensors file beside the tensors, and reads back.

Weights cannot tell the number of norm groups or the frame; a file that vaekit wrote says both. All of it is optional:
a file without it is read by its shapes alone.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from vaekit.checkpoints.families import Config
from vaekit.vae import LatentFrame

VERSION = "1"


def describe(family: str, config: Config, frame: LatentFrame | None) -> dict[str, str]:
    """Metadata for a file with these weights."""
    description = {
        "format": "pt",
        "vaekit.version": VERSION,
        "vaekit.family": family,
        "vaekit.config": json.dumps(dataclasses.asdict(config)),
    }
    return description | ({"vaekit.frame": frame_text(frame)} if frame else {})


def frame_text(frame: LatentFrame) -> str:
    """A frame as JSON."""
    return json.dumps(dataclasses.asdict(frame))


def read_frame(metadata: Mapping[str, str]) -> LatentFrame | None:
    """The frame that the metadata tells, if it tells one that can be understood."""
    entry = _json_object(metadata.get("vaekit.frame"))
    try:
        return LatentFrame(tuple(map(float, entry["shift"])), tuple(map(float, entry["scale"])), int(entry["patch"]))
    except (KeyError, TypeError, ValueError):
        return None


def read_norm_groups(metadata: Mapping[str, str]) -> int | None:
    """The number of norm groups that the metadata tells, if any."""
    groups = _json_object(metadata.get("vaekit.config")).get("norm_groups")
    return groups if isinstance(groups, int) and groups > 0 else None


def _json_object(text: str | None) -> dict[str, Any]:
    try:
        entry = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}

"""What vaekit writes into the metadata of a safetensors file beside the tensors, and reads back.

Weights cannot tell the number of norm groups or the frame; a file that vaekit wrote says both. All of it is optional:
a file without it is read by its shapes alone.
"""

import dataclasses
import json
import sys
from collections.abc import Mapping
from typing import Any, TypeGuard

from vaekit.checkpoints.families import Config
from vaekit.nets.kl import ZEROS
from vaekit.vae import LatentFrame

VERSION = "1"
UNKNOWN = "null"
"""The frame of a VAE whose frame nobody knows. Left out, its shapes might speak for it."""
LARGEST_PATCH = 16


def describe(family: str, config: Config, frame: LatentFrame | None, padding_known: bool = True) -> dict[str, str]:
    """Metadata for a file with these weights.

    Args:
        padding_known: whether a padding of zeros is more than what every VAE has that nobody looked at; written down,
            it is taken for a fact by whoever reads the file next.
    """
    return {
        "format": "pt",
        "vaekit.version": VERSION,
        "vaekit.family": family,
        "vaekit.config": json.dumps(told_config(config, padding_known)),
        "vaekit.frame": frame_text(frame),
    }


def told_config(config: Config, padding_known: bool) -> dict[str, Any]:
    """The fields of a config that are known."""
    fields = dataclasses.asdict(config)
    return {name: value for name, value in fields.items() if padding_known or (name, value) != ("padding", ZEROS)}


def frame_text(frame: LatentFrame | None) -> str:
    """A frame as JSON."""
    return UNKNOWN if frame is None else json.dumps(dataclasses.asdict(frame))


def read_frame(metadata: Mapping[str, str]) -> LatentFrame | None:
    """The frame that the metadata tells, if it tells one that can be understood."""
    entry = _json_object(metadata.get("vaekit.frame"))
    return sound_frame(entry.get("shift"), entry.get("scale"), entry.get("patch"))


def sound_frame(shift: object, scale: object, patch: object = 1) -> LatentFrame | None:
    """A frame from what a file tells; None where that is not finite numbers, or has a scale that nothing can undo."""
    if not (_are_numbers(shift) and _are_numbers(scale) and all(scale)):
        return None
    if type(patch) is not int or not 1 <= patch <= LARGEST_PATCH:
        return None
    return LatentFrame(tuple(map(float, shift)), tuple(map(float, scale)), patch)


def spans(frame: LatentFrame, latent_channels: int) -> bool:
    """Whether a frame has one value for all channels, or one for each that there is after rearrangement."""
    lengths = {1, latent_channels * frame.patch**2}
    return len(frame.shift) in lengths and len(frame.scale) in lengths


def _are_numbers(values: object) -> TypeGuard[list[float]]:
    return (
        isinstance(values, list)
        and bool(values)
        and all(type(value) in (int, float) and abs(value) <= sys.float_info.max for value in values)
    )


def read_family(metadata: Mapping[str, str]) -> str | None:
    """The family that the metadata tells. Only a family that shapes do not tell is believed so."""
    return metadata.get("vaekit.family")


def read_config(metadata: Mapping[str, str]) -> dict[str, Any]:
    """What the metadata tells of the config: things that weights do not tell; empty where it tells nothing."""
    return _json_object(metadata.get("vaekit.config"))


def _json_object(text: str | None) -> dict[str, Any]:
    try:
        entry = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}

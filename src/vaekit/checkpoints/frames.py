"""Which frame a VAE's latents have: what its file says, else what the rest of the file is, else what
its shapes prove, else unknown. Never a guess."""

import math
from collections.abc import Mapping
from typing import Any

from vaekit.checkpoints.cards import Kind, agreed_frame, matching_kinds
from vaekit.checkpoints.families import Config, Family
from vaekit.checkpoints.metadata import UNKNOWN, read_frame, sound_frame, spans
from vaekit.checkpoints.surroundings import Model
from vaekit.vae import LatentFrame


def find_frame(
    family: Family,
    config: Config,
    metadata: Mapping[str, str],
    settings: Mapping[str, Any],
    statistics: LatentFrame | None = None,
    edm: LatentFrame | None = None,
    around: Model | None = None,
) -> tuple[tuple[Kind, ...], LatentFrame | None, str]:
    """The kinds this VAE may be, its frame, and how that is known: what the file tells first, then what is around it,
    then shapes.

    Metadata comes before the statistics among its tensors: vaekit writes both, and only metadata holds every digit.
    """
    candidates = matching_kinds(family.name, config)
    in_settings = frame_of_settings(settings) if family.name != "tiny" else None
    for told, source in (
        (read_frame(metadata), "the file's metadata"),
        (statistics, "the file's batch-norm statistics"),
        (edm, "the file's edm_mean and edm_std"),
        (in_settings, "config.json"),
    ):
        if told is not None and spans(told, config.latent_channels):
            return tuple(kind for kind in candidates if is_close(kind.frame, told)) or candidates, told, source
    space = around.latent_space if around is not None else None
    if around is not None and space in candidates:
        candidates = tuple(kind for kind in candidates if kind == space)
        if candidates[0].frame is not None:
            return candidates, candidates[0].frame, f"the checkpoint around it, which is {around.name}'s"
    if says_unknown(metadata, settings):
        return candidates, None, "the file says that it is"
    named = tuple(kind for kind in candidates if kind.model_name and kind.model_name == settings.get("model_name"))
    if named:
        return named, agreed_frame(named), "config.json, which names the model"
    agreed = agreed_frame(candidates)
    if agreed is not None:
        return candidates, agreed, "the shapes, which only this kind has"
    return candidates, None, why_unknown(candidates)


def is_close(known: LatentFrame | None, told: LatentFrame) -> bool:
    """Whether two frames are the same up to the rounding of numbers that were stored in half precision."""
    if known is None or (len(known.shift), len(known.scale), known.patch) != (
        len(told.shift),
        len(told.scale),
        told.patch,
    ):
        return False
    pairs = zip(known.shift + known.scale, told.shift + told.scale, strict=True)
    return all(math.isclose(a, b, rel_tol=2e-3) for a, b in pairs)


def says_unknown(metadata: Mapping[str, str], settings: Mapping[str, Any]) -> bool:
    """Whether the file tells that nobody knew the frame when it was written. Then its shapes prove nothing."""
    factor = settings.get("scaling_factor", settings.get("latents_mean", 0))
    return metadata.get("vaekit.frame") == UNKNOWN or factor is None


def why_unknown(candidates: tuple[Kind, ...]) -> str:
    """Why shapes alone do not tell the frame."""
    names = " or ".join(kind.name for kind in candidates)
    if not candidates:
        return "no known kind has these shapes, and the file does not say"
    if len(candidates) == 1:
        return candidates[0].frameless or f"{names} has it in {candidates[0].frame_in or 'no file of its own'}"
    return f"the shapes fit {names}, and the file does not say which"


def frame_of_settings(settings: Mapping[str, Any]) -> LatentFrame | None:
    """The frame in a diffusers config: mean and std per channel, or one scale and shift."""
    scale = settings.get("scaling_factor")
    mean, std = settings.get("latents_mean"), settings.get("latents_std")
    if isinstance(mean, list) and isinstance(std, list):
        deviations = sound_frame(mean, std)
        factor = sound_frame([0.0], [settings.get("scaling_factor", 1.0)])  # classes for video know no factor
        if deviations is None or factor is None:
            return None
        return sound_frame(mean, [factor.scale[0] / value for value in deviations.scale])
    return sound_frame([settings.get("shift_factor") or 0.0], [scale])


def frame_words(frame: LatentFrame) -> str:
    """A frame for a person: scale and shift, or that there is one for each channel."""
    if len(frame.scale) > 1 or len(frame.shift) > 1:
        return f"frame of {max(len(frame.scale), len(frame.shift))} channels"
    return f"scale {frame.scale[0]:g}, shift {frame.shift[0]:g}"

"""Which normalization a VAE's latents have: what its file says, else what the rest of the file is, else what
its shapes prove, else unknown. Never a guess."""

import math
from collections.abc import Mapping
from typing import Any

from vaekit.checkpoints.cards import Kind, agreed_normalization, matching_kinds
from vaekit.checkpoints.families import Config, Family
from vaekit.checkpoints.metadata import read_normalization, says_unknown
from vaekit.checkpoints.surroundings import Model
from vaekit.normalization import LatentNormalization


def find_normalization(
    family: Family,
    config: Config,
    metadata: Mapping[str, str],
    settings: Mapping[str, Any],
    statistics: LatentNormalization | None = None,
    edm: LatentNormalization | None = None,
    around: Model | None = None,
) -> tuple[tuple[Kind, ...], LatentNormalization | None, str]:
    """The kinds this VAE may be, its normalization, and how that is known: from the file first, then from what is
    around it, then from shapes.

    Metadata comes before the statistics among its tensors: vaekit writes both, and only metadata holds every digit.
    """
    candidates = matching_kinds(family.name, config)
    in_settings = normalization_of_settings(settings) if family.name != "tiny" else None
    for told, source in (
        (read_normalization(metadata), "the file's metadata"),
        (statistics, "the file's batch-norm statistics"),
        (edm, "the file's edm_mean and edm_std"),
        (in_settings, "config.json"),
    ):
        if told is not None and told.fits(config.latent_channels):
            return tuple(kind for kind in candidates if is_close(kind.normalization, told)) or candidates, told, source
    space = around.latent_space if around is not None else None
    if around is not None and space in candidates:
        candidates = tuple(kind for kind in candidates if kind == space)
        if candidates[0].normalization is not None:
            return candidates, candidates[0].normalization, f"the checkpoint around it, which is {around.name}'s"
    if says_unknown(metadata) or settings.get("scaling_factor", settings.get("latents_mean", 0)) is None:
        return candidates, None, "the file says that it is"
    named = tuple(kind for kind in candidates if kind.model_name and kind.model_name == settings.get("model_name"))
    if named:
        return named, agreed_normalization(named), "config.json, which names the model"
    agreed = agreed_normalization(candidates)
    if agreed is not None:
        return candidates, agreed, "the shapes, which only this kind has"
    return candidates, None, why_unknown(candidates)


def is_close(known: LatentNormalization | None, told: LatentNormalization) -> bool:
    """Whether two normalizations are the same up to the rounding of numbers that were stored in half precision."""
    if known is None or (len(known.shift), len(known.scale), known.patch) != (
        len(told.shift),
        len(told.scale),
        told.patch,
    ):
        return False
    pairs = zip(known.shift + known.scale, told.shift + told.scale, strict=True)
    return all(math.isclose(a, b, rel_tol=2e-3) for a, b in pairs)


def why_unknown(candidates: tuple[Kind, ...]) -> str:
    """Why shapes alone do not tell the normalization."""
    names = " or ".join(kind.name for kind in candidates)
    if not candidates:
        return "no known kind has these shapes, and the file does not say"
    if len(candidates) == 1:
        return (
            candidates[0].no_normalization
            or f"{names} has it in {candidates[0].normalization_in or 'no file of its own'}"
        )
    return f"the shapes fit {names}, and the file does not say which"


def normalization_of_settings(settings: Mapping[str, Any]) -> LatentNormalization | None:
    """The normalization in a diffusers config: mean and std per channel, or one scale and shift."""
    read = LatentNormalization.from_values
    mean, std = settings.get("latents_mean"), settings.get("latents_std")
    if isinstance(mean, list) and isinstance(std, list):
        factor = read([0.0], [settings.get("scaling_factor", 1.0)])  # classes for video have no factor
        if read(mean, std) is None or factor is None:
            return None
        return read(mean, [factor.scale[0] / value for value in std])
    return read([settings.get("shift_factor") or 0.0], [settings.get("scaling_factor")])

"""Which normalization a VAE's latents have: what its file says, else what the rest of the file is, else what
its shapes prove, else unknown. Never a guess."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from vaekit.catalog.entries import LatentSpace, matching_latent_spaces, shared_normalization
from vaekit.errors import WrongTensors, shorten
from vaekit.families import Config, Family
from vaekit.families.normalization import COUNT, EPSILON, MEAN, PATCH, VARIANCE, normalization_of
from vaekit.formats.open import TensorSpec
from vaekit.identification.host_model import HostModel
from vaekit.identification.locate import EDM_MEAN, EDM_STD, LocatedVAE
from vaekit.identification.metadata import read_normalization, says_unknown
from vaekit.normalization import LatentNormalization


def find_normalization(
    family: Family,
    config: Config,
    metadata: Mapping[str, str],
    settings: Mapping[str, Any],
    statistics: LatentNormalization | None = None,
    edm: LatentNormalization | None = None,
    around: HostModel | None = None,
) -> tuple[tuple[LatentSpace, ...], LatentNormalization | None, str]:
    """The kinds this VAE may be, its normalization, and how that is known: from the file first, then from what is
    around it, then from shapes.

    Metadata comes before the statistics among its tensors: vaekit writes both, and only metadata holds every digit.
    """
    candidates = matching_latent_spaces(family.name, config)
    in_settings = normalization_of_settings(settings) if family.name != "tiny" else None
    for told, source in (
        (read_normalization(metadata), "the file's metadata"),
        (statistics, "the file's batch-norm statistics"),
        (edm, "the file's edm_mean and edm_std"),
        (in_settings, "config.json"),
    ):
        if told is not None and told.fits(config.geometry.latent_channels):
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
        return named, shared_normalization(named), "config.json, which names the model"
    agreed = shared_normalization(candidates)
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


def why_unknown(candidates: tuple[LatentSpace, ...]) -> str:
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


DATA_STD = 0.5


def read_edm_normalization(path: Path, parts: Sequence[LocatedVAE], latent_channels: int) -> LatentNormalization | None:
    """The normalization in the first file that has one; None where none has.

    Raises:
        WrongTensors: one of the two is missing, they are misshapen, not finite, or a deviation is not positive.
    """
    for part in parts:
        names = [name for name in (EDM_MEAN, EDM_STD) if name in part.file.specs]
        if not names:
            continue
        specs = [part.file.specs[name] for name in names]
        sound = all(spec.dtype.is_floating_point and spec.shape in shapes(latent_channels) for spec in specs)
        if len(names) == 2 and sound:
            read = part.file.read(names)
            mean, std = (read[name].double().flatten() for name in (EDM_MEAN, EDM_STD))
            if torch.isfinite(mean).all() and torch.isfinite(std).all() and (std > 0).all():
                return LatentNormalization.from_mean_and_std(mean.tolist(), std.tolist(), DATA_STD)
        raise WrongTensors(
            f"{path} has {shorten(names)} for its latents, but not a usable pair.",
            f"Expected {EDM_MEAN} and {EDM_STD}, finite numbers for each of {latent_channels} channels.",
            "Fetch the file again from its source; without them its latents would be scaled wrongly.",
        )
    return None


def shapes(latent_channels: int) -> tuple[tuple[int, ...], ...]:
    """As published, and without the places for rows and columns."""
    return (1, latent_channels, 1, 1), (latent_channels,)


def read_statistics(
    path: Path, parts: Sequence[LocatedVAE], latent_channels: int, settings: Mapping[str, Any]
) -> LatentNormalization | None:
    """The normalization in the statistics of a VAE's files; None where there are none.

    Reads two short vectors from each file that has them, once their shapes are known to be right.

    Raises:
        WrongTensors: one is missing, misshapen, not finite or negative, or the halves have different ones.
    """
    told = [part for part in parts if part.statistics]
    problems = [flaw for part in told for flaw in flaws(part, PATCH**2 * latent_channels)]
    normalizations = set()
    for part in [] if problems else told:
        read = part.file.read(part.statistics.values())
        mean, variance = read[part.statistics[MEAN]], read[part.statistics[VARIANCE]]
        normalizations.add(normalization_of(mean, variance, epsilon_in(settings)))
    if None in normalizations:
        problems.append("values that are not finite, or a negative variance")
    if len(normalizations) > 1:
        problems.append("different ones in the encoder's file and in the decoder's")
    if problems:
        raise WrongTensors(
            f"{path} has batch-norm statistics for its latents, but not usable ones: {'; '.join(problems)}.",
            f"Expected {MEAN} and {VARIANCE}, a number for each of {PATCH**2 * latent_channels} channels.",
            "Fetch the file again from its source; without them its latents would be scaled wrongly.",
        )
    return next(iter(normalizations), None)


def flaws(part: LocatedVAE, channels: int) -> list[str]:
    """What is wrong with the names, shapes and dtypes of the statistics in one file."""
    told = [f"{part.foreign(key)} is missing" for key in (MEAN, VARIANCE) if key not in part.statistics]
    for key, name in part.statistics.items():
        spec = part.file.specs[name]
        if key != COUNT and not is_vector(spec, channels):
            told.append(f"{name} {list(spec.shape)} in {spec.dtype} instead of [{channels}] fractions")
        elif key == COUNT and math.prod(spec.shape) != 1:
            told.append(f"{name} {list(spec.shape)} instead of one number")
    return told


def is_vector(spec: TensorSpec, length: int) -> bool:
    return spec.shape == (length,) and spec.dtype.is_floating_point


def epsilon_in(settings: Mapping[str, Any]) -> float:
    """What a diffusers config says is added to the variance, if it says something sensible."""
    told = settings.get("batch_norm_eps")
    return told if isinstance(told, float) and 0 < told < 1 else EPSILON

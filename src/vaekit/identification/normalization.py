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
from vaekit.families.normalization import NormalizationTensors
from vaekit.formats.open import TensorSpec
from vaekit.identification.host_model import HostModel, HostNormalization, host_normalizations
from vaekit.identification.locate import LocatedVAE
from vaekit.identification.metadata import read_normalization, says_unknown
from vaekit.normalization import LatentNormalization


def find_normalization(
    family: Family,
    config: Config,
    metadata: Mapping[str, str],
    settings: Mapping[str, Any],
    in_tensors: Sequence[tuple[LatentNormalization, str]] = (),
    around: HostModel | None = None,
) -> tuple[tuple[LatentSpace, ...], LatentNormalization | None, str]:
    """The kinds this VAE may be, its normalization, and how that is known: from the file first, then from what is
    around it, then from shapes.

    Metadata comes before the tensors of a normalization: vaekit writes both, and only metadata holds every digit.

    Args:
        family: of the VAE.
        config: of the VAE.
        metadata: of its file.
        settings: of a diffusers `config.json`; empty where there is none.
        in_tensors: normalizations that tensors of the file tell, each with its source, the first one first.
        around: the diffusion model whose whole checkpoint the file is.
    """
    candidates = matching_latent_spaces(family.name, config)
    for told, source in (
        (read_normalization(metadata), "the file's metadata"),
        *in_tensors,
        (family.normalization_from_settings(settings), "config.json"),
    ):
        if told is not None and told.fits(config.geometry.latent_channels):
            same = tuple(kind for kind in candidates if kind.has_normalization(told, config.geometry.latent_channels))
            return same or candidates, told, source
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


def read_host_normalization(
    path: Path, parts: Sequence[LocatedVAE], latent_channels: int
) -> tuple[LatentNormalization, str] | None:
    """The normalization that the first file with the tensors of a whole checkpoint tells, and where; None where none
    has any.

    Raises:
        WrongTensors: one of the two is missing, they are misshapen, not finite, or a standard deviation is not
            positive.
    """
    for part in parts:
        for beside in host_normalizations():
            names = [name for name in beside.names if name in part.file.specs]
            if names:
                return values_of(path, part, beside, latent_channels), f"the file's {' and '.join(names)}"
    return None


def values_of(path: Path, part: LocatedVAE, beside: HostNormalization, latent_channels: int) -> LatentNormalization:
    """The normalization in a file of which at least one of the tensors is there.

    Raises:
        WrongTensors: see `read_host_normalization`.
    """
    specs = [part.file.specs[name] for name in beside.names if name in part.file.specs]
    sound = all(spec.dtype.is_floating_point and spec.shape in shapes(latent_channels) for spec in specs)
    if len(specs) == len(beside.names) and sound:
        read = part.file.read(beside.names)
        mean, std = (read[name].double().flatten() for name in beside.names)
        if torch.isfinite(mean).all() and torch.isfinite(std).all() and (std > 0).all():
            return LatentNormalization.from_mean_and_std(mean.tolist(), std.tolist(), beside.to_std)
    raise WrongTensors(
        f"{path} has {shorten(name for name in beside.names if name in part.file.specs)} for its latents, but not a "
        "usable pair.",
        f"Expected {' and '.join(beside.names)}, finite values for each of {latent_channels} channels.",
        "Fetch the file again from its source; without them its latents would be scaled wrongly.",
    )


def shapes(latent_channels: int) -> tuple[tuple[int, ...], ...]:
    """As published, and without the places for rows and columns."""
    return (1, latent_channels, 1, 1), (latent_channels,)


def read_normalization_tensors(
    path: Path, parts: Sequence[LocatedVAE], family: Family, config: Config, settings: Mapping[str, Any]
) -> tuple[LatentNormalization, str] | None:
    """The normalization in the tensors that a family keeps it in, and where; None where a VAE's files have none.

    Reads short vectors from each file that has them, once their shapes are known to be right.

    Raises:
        WrongTensors: one is missing, misshapen, not finite or negative, or those of the halves differ by more than
            rounding; of two that are close, those of the wider dtype count.
    """
    tensors = family.normalization_tensors
    told = sorted((part for part in parts if part.statistics), key=width, reverse=True)
    if tensors is None or not told:
        return None
    length = tensors.length(config)
    problems = [flaw for part in told for flaw in flaws(part, tensors, length)]
    normalizations = []
    for part in [] if problems else told:
        read = part.file.read(part.statistics[key] for key in tensors.vectors)
        normalizations.append(tensors.read({key: read[part.statistics[key]] for key in tensors.vectors}, settings))
    usable = [each for each in normalizations if each is not None]
    if len(usable) < len(normalizations):
        problems.append("values that are not finite, or a negative variance")
    if not all(usable[0].is_close(each, channels=config.geometry.latent_channels) for each in usable[1:]):
        problems.append("different ones in the encoder's file and in the decoder's")
    normalization = next(iter(usable), None)
    if problems or normalization is None:
        raise WrongTensors(
            f"{path} has {tensors.description} for its latents, but not usable ones: {'; '.join(problems)}.",
            f"Expected {' and '.join(tensors.vectors)}, a value for each of {length} channels.",
            "Fetch the file again from its source; without them its latents would be scaled wrongly.",
        )
    return normalization, f"the file's {tensors.description}"


def width(part: LocatedVAE) -> int:
    """The least bytes that one of its statistics has for a value."""
    return min(part.file.specs[name].dtype.itemsize for name in part.statistics.values())


def flaws(part: LocatedVAE, tensors: NormalizationTensors, length: int) -> list[str]:
    """What is wrong with the names, shapes and dtypes of such tensors in one file."""
    told = [f"{part.foreign(key)} is missing" for key in tensors.vectors if key not in part.statistics]
    for key, name in part.statistics.items():
        spec = part.file.specs[name]
        if key in tensors.vectors and not is_vector(spec, length):
            told.append(f"{name} {list(spec.shape)} in {spec.dtype} instead of [{length}] in floating point")
        elif key in tensors.counters and math.prod(spec.shape) != 1:
            told.append(f"{name} {list(spec.shape)} instead of one value")
    return told


def is_vector(spec: TensorSpec, length: int) -> bool:
    return spec.shape == (length,) and spec.dtype.is_floating_point

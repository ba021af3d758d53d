"""Determine the latent normalization of a VAE: from its file, else from the whole checkpoint, else from what
its shapes imply, else unknown. It is never guessed."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from vaekit.catalog.entries import LatentSpace, matching_latent_spaces, matching_twins, shared_normalization
from vaekit.errors import WrongTensors, shorten
from vaekit.families import Config, Family
from vaekit.families.normalization import NormalizationTensors
from vaekit.formats.open import TensorSpec
from vaekit.identification.host_model import HostModel, HostNormalization, host_normalizations
from vaekit.identification.locate import LocatedVAE
from vaekit.identification.metadata import is_stated_unknown, read_normalization
from vaekit.normalization import LatentNormalization

SHAPES = "the shapes"
"""The start of the source of a normalization that only shapes determine."""


def find_normalization(
    family: Family,
    config: Config,
    metadata: Mapping[str, str],
    settings: Mapping[str, Any],
    in_tensors: Sequence[tuple[LatentNormalization, str]] = (),
    host: HostModel | None = None,
) -> tuple[tuple[LatentSpace, ...], LatentNormalization | None, str]:
    """The candidate latent spaces, the normalization and its source: from the file first, then from the
    checkpoint's diffusion model, then from shapes.

    Metadata takes precedence over the tensors of a normalization: vaekit writes both, and metadata is exact.

    Args:
        family: of the VAE.
        config: of the VAE.
        metadata: of its file.
        settings: of a diffusers `config.json`; empty if there is none.
        in_tensors: normalizations stored in tensors of the file, each with its source, by precedence.
        host: the diffusion model of a whole checkpoint.
    """
    candidates = matching_latent_spaces(family.name, config)
    for stated, source in (
        (read_normalization(metadata), "the file's metadata"),
        *in_tensors,
        (family.normalization_from_settings(settings), "config.json"),
    ):
        if stated is not None and stated.fits(config.geometry.latent_channels):
            same = tuple(
                space for space in candidates if space.has_normalization(stated, config.geometry.latent_channels)
            )
            return same or candidates, stated, source
    host_space = host.latent_space if host is not None else None
    if host is not None and host_space in candidates:
        candidates = tuple(space for space in candidates if space == host_space)
        if candidates[0].normalization is not None:
            return candidates, candidates[0].normalization, f"its checkpoint, which is {host.name}'s"
    if is_stated_unknown(metadata) or settings.get("scaling_factor", settings.get("latents_mean", 0)) is None:
        return candidates, None, "the file states that it is"
    named = tuple(space for space in candidates if space.model_name and space.model_name == settings.get("model_name"))
    if named:
        return named, shared_normalization(named), "config.json, which names the model"
    agreed = shared_normalization(candidates)
    fine_tuned = tuple(twin.name for twin in matching_twins(family.name, config))
    if agreed is not None:
        others = f"{' and '.join(fine_tuned)} has too, with other latents" if fine_tuned else ""
        return candidates, agreed, f"{SHAPES}, which {others or 'only this latent space has'}"
    return candidates, None, why_unknown(candidates, fine_tuned)


def why_unknown(candidates: tuple[LatentSpace, ...], twins: tuple[str, ...] = ()) -> str:
    """The reason why shapes alone do not determine the normalization.

    Args:
        candidates: the latent spaces with these shapes.
        twins: the names of fine-tuned VAEs with these shapes.
    """
    names = " or ".join((*(space.name for space in candidates), *twins))
    if not candidates:
        return "no known latent space has these shapes, and the file does not state it"
    if len(candidates) == 1 and not twins:
        return (
            candidates[0].no_normalization
            or f"{names} stores it in {candidates[0].normalization_in or 'no file of its own'}"
        )
    return f"the shapes fit {names}, and the file does not state which"


def read_host_normalization(
    path: Path, parts: Sequence[LocatedVAE], latent_channels: int
) -> tuple[LatentNormalization, str] | None:
    """The normalization in tensors of a whole checkpoint, from the first file that has them, and its source; None if
    no file has them.

    Raises:
        WrongTensors: one of the two is missing, they are misshapen, not finite, or a standard deviation is not
            positive.
    """
    for part in parts:
        for stored in host_normalizations():
            names = [name for name in stored.names if name in part.file.specs]
            if names:
                return values_of(path, part, stored, latent_channels), f"the file's {' and '.join(names)}"
    return None


def values_of(path: Path, part: LocatedVAE, stored: HostNormalization, latent_channels: int) -> LatentNormalization:
    """The normalization in a file that has at least one of its tensors.

    Raises:
        WrongTensors: see `read_host_normalization`.
    """
    specs = [part.file.specs[name] for name in stored.names if name in part.file.specs]
    valid = all(spec.dtype.is_floating_point and spec.shape in shapes(latent_channels) for spec in specs)
    if len(specs) == len(stored.names) and valid:
        read = part.file.read(stored.names)
        mean, std = (read[name].double().flatten() for name in stored.names)
        if torch.isfinite(mean).all() and torch.isfinite(std).all() and (std > 0).all():
            return LatentNormalization.from_mean_and_std(mean.tolist(), std.tolist(), stored.to_std)
    raise WrongTensors(
        f"{path} has {shorten(name for name in stored.names if name in part.file.specs)} for its normalization, but no "
        "usable pair.",
        f"Expected {' and '.join(stored.names)}, finite values for each of {latent_channels} channels.",
        "Download the file again from its source; without them its latents would be scaled wrongly.",
    )


def shapes(latent_channels: int) -> tuple[tuple[int, ...], ...]:
    """The published shape, and the same without the axes of rows and columns."""
    return (1, latent_channels, 1, 1), (latent_channels,)


def read_normalization_tensors(
    path: Path, parts: Sequence[LocatedVAE], family: Family, config: Config, settings: Mapping[str, Any]
) -> tuple[LatentNormalization, str] | None:
    """The normalization in the tensors of a family, and its source; None if the files have no such tensors.

    Reads short vectors from each file that has them, after checking their shapes.

    Raises:
        WrongTensors: one is missing, misshapen, non-finite or negative, or those of the halves differ by more than
            rounding; of two that are close, the wider dtype is used.
    """
    tensors = family.normalization_tensors
    holders = sorted((part for part in parts if part.statistics), key=width, reverse=True)
    if tensors is None or not holders:
        return None
    length = tensors.length(config)
    problems = [flaw for part in holders for flaw in flaws(part, tensors, length)]
    normalizations = []
    for part in [] if problems else holders:
        read = part.file.read(part.statistics[key] for key in tensors.vectors)
        vectors = {key: read[part.statistics[key]].double() for key in tensors.vectors}  # from any dtype, such as fp8
        normalizations.append(tensors.read(vectors, settings))
    usable = [each for each in normalizations if each is not None]
    if len(usable) < len(normalizations):
        problems.append("non-finite values, or a negative variance")
    if not all(usable[0].is_close(each, channels=config.geometry.latent_channels) for each in usable[1:]):
        problems.append("different values in the encoder's file and in the decoder's")
    normalization = next(iter(usable), None)
    if problems or normalization is None:
        raise WrongTensors(
            f"{path} has {tensors.description} for the latent normalization, but not usable: {'; '.join(problems)}.",
            f"Expected {' and '.join(tensors.vectors)}, a value for each of {length} channels.",
            "Download the file again from its source; without them its latents would be scaled wrongly.",
        )
    return normalization, f"the file's {tensors.description}"


def width(part: LocatedVAE) -> int:
    """The smallest element size, in bytes, of its statistics."""
    return min(part.file.specs[name].dtype.itemsize for name in part.statistics.values())


def flaws(part: LocatedVAE, tensors: NormalizationTensors, length: int) -> list[str]:
    """Problems with the names, shapes and dtypes of such tensors in one file."""
    problems = [f"{part.foreign(key)} is missing" for key in tensors.vectors if key not in part.statistics]
    for key, name in part.statistics.items():
        spec = part.file.specs[name]
        if key in tensors.vectors and not is_vector(spec, length):
            problems.append(f"{name} {list(spec.shape)} in {spec.dtype} instead of [{length}] in floating point")
        elif key in tensors.counters and math.prod(spec.shape) != 1:
            problems.append(f"{name} {list(spec.shape)} instead of one value")
    return problems


def is_vector(spec: TensorSpec, length: int) -> bool:
    return spec.shape == (length,) and spec.dtype.is_floating_point

"""Reading the normalization that stands in a file as tensors (`families/batch_norm.py` knows what they mean)."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vaekit.checkpoints.families.batch_norm import COUNT, EPSILON, MEAN, PATCH, VARIANCE, normalization_of
from vaekit.checkpoints.formats.files import TensorSpec
from vaekit.checkpoints.locate import Found
from vaekit.errors import WrongTensors
from vaekit.normalization import LatentNormalization


def read_statistics(
    path: Path, parts: Sequence[Found], latent_channels: int, settings: Mapping[str, Any]
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


def flaws(part: Found, channels: int) -> list[str]:
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

"""A frame that stands in a file as tensors: FLUX.2's batch-norm statistics, beside the weights of the nets.

    shift = running_mean        scale = 1 / sqrt(running_var + eps)        one of each for a channel of 2x2 latents

These tensors belong to no network, so they are kept apart from the nets' own. A file has both statistics or neither,
and what is read from it is written back to the last bit (in fp32, whatever dtype the weights have).
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.checkpoints.files import TensorSpec
from vaekit.checkpoints.layouts import STATISTICS
from vaekit.checkpoints.locate import Found
from vaekit.errors import WrongTensors
from vaekit.vae import LatentFrame

PATCH = 2
"""Raw latents are rearranged 2x2 before the statistics apply."""
EPSILON = 1e-4
"""What FLUX.2 adds to the variance; a diffusers config may say otherwise."""
MEAN, VARIANCE, COUNT = (native for native, _ in STATISTICS)


def read_statistics(
    path: Path, parts: Sequence[Found], latent_channels: int, settings: Mapping[str, Any]
) -> LatentFrame | None:
    """The frame in the statistics of a VAE's files; None where there are none.

    Reads two short vectors from each file that has them, once their shapes are known to be right.

    Raises:
        WrongTensors: one is missing, misshapen, not finite or negative, or the halves have different ones.
    """
    told = [part for part in parts if part.statistics]
    problems = [flaw for part in told for flaw in flaws(part, PATCH**2 * latent_channels)]
    frames = set()
    for part in [] if problems else told:
        read = part.file.read(part.statistics.values())
        mean, variance = read[part.statistics[MEAN]], read[part.statistics[VARIANCE]]
        frames.add(frame_of(mean, variance, epsilon_in(settings)))
    if None in frames:
        problems.append("values that are not finite, or a negative variance")
    if len(frames) > 1:
        problems.append("different ones in the encoder's file and in the decoder's")
    if problems:
        raise WrongTensors(
            f"{path} has batch-norm statistics for its latents, but not usable ones: {'; '.join(problems)}.",
            f"Expected {MEAN} and {VARIANCE}, a number for each of {PATCH**2 * latent_channels} channels.",
            "Fetch the file again from its source; without them its latents would be scaled wrongly.",
        )
    return next(iter(frames), None)


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


def frame_of(mean: Tensor, variance: Tensor, epsilon: float) -> LatentFrame | None:
    """The frame that batch-norm statistics stand for; None where they are not finite, or a variance is negative."""
    if not (mean.isfinite().all() and variance.isfinite().all() and (variance >= 0).all()):
        return None
    scale = (variance.double() + epsilon).rsqrt()
    return LatentFrame(tuple(mean.double().tolist()), tuple(scale.tolist()), PATCH)


def statistics_of(frame: LatentFrame | None, latent_channels: int) -> dict[str, Tensor]:
    """The native tensors that stand for a frame: the inverse of `frame_of`; empty where none could.

    The counter of training batches is no part of a frame and is written as zero: batch norm ignores it.
    """
    if frame is None or frame.patch != PATCH:
        return {}
    channels = PATCH**2 * latent_channels
    shift, scale = (spread(values, channels) for values in (frame.shift, frame.scale))
    # Rounded to fp32 a difference of two nearly equal numbers may fall below zero by a hair.
    variance = (scale.pow(-2) - EPSILON).float()
    if (scale < 0).any() or (variance < -EPSILON * 1e-6).any():
        return {}
    return {MEAN: shift.float(), VARIANCE: variance.clamp(min=0), COUNT: torch.tensor(0)}


def spread(values: Sequence[float], channels: int) -> Tensor:
    """One value for each channel, from one for each or one for all."""
    return torch.tensor(values, dtype=torch.float64).expand(channels).clone()

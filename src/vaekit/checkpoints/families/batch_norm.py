"""A normalization that stands in a file as tensors: FLUX.2's batch-norm statistics, beside the weights of the nets.

    shift = running_mean        scale = 1 / sqrt(running_var + eps)        one of each for a channel of 2x2 latents

These tensors belong to no network, so they are kept apart from the nets' own. A file has both statistics or neither,
and what is read from it is written back to the last bit (in fp32, whatever dtype the weights have).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from vaekit.checkpoints.families.layout import Rules
from vaekit.normalization import LatentNormalization

STATISTICS: Rules = tuple((key, key) for key in ("bn.running_mean", "bn.running_var", "bn.num_batches_tracked"))
"""The same names in every layout."""
PATCH = 2
"""Raw latents are rearranged 2x2 before the statistics apply."""
EPSILON = 1e-4
"""What FLUX.2 adds to the variance; a diffusers config may say otherwise."""
MEAN, VARIANCE, COUNT = (native for native, _ in STATISTICS)


def normalization_of(mean: Tensor, variance: Tensor, epsilon: float) -> LatentNormalization | None:
    """The normalization in batch-norm statistics; None where they are not finite, or a variance is negative."""
    if not (mean.isfinite().all() and variance.isfinite().all() and (variance >= 0).all()):
        return None
    scale = (variance.double() + epsilon).rsqrt()
    return LatentNormalization(tuple(mean.double().tolist()), tuple(scale.tolist()), PATCH)


def statistics_of(normalization: LatentNormalization | None, latent_channels: int) -> dict[str, Tensor]:
    """The native tensors that stand for a normalization: the inverse of `normalization_of`; empty where none could.

    The counter of training batches is no part of a normalization and is written as zero: batch norm ignores it.
    """
    if normalization is None or normalization.patch != PATCH:
        return {}
    channels = PATCH**2 * latent_channels
    shift, scale = (spread(values, channels) for values in (normalization.shift, normalization.scale))
    # Rounded to fp32 a difference of two nearly equal numbers may fall below zero by a hair.
    variance = (scale.pow(-2) - EPSILON).float()
    if (scale < 0).any() or (variance < -EPSILON * 1e-6).any():
        return {}
    return {MEAN: shift.float(), VARIANCE: variance.clamp(min=0), COUNT: torch.tensor(0)}


def spread(values: Sequence[float], channels: int) -> Tensor:
    """One value for each channel, from one for each or one for all."""
    return torch.tensor(values, dtype=torch.float64).expand(channels).clone()

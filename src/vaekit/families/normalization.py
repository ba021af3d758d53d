"""Normalizations in diffusers' configs, and in tensors beside the weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vaekit.errors import WrongTensors
from vaekit.families.layout import Rules
from vaekit.normalization import LatentNormalization


def diffusers_normalization(normalization: LatentNormalization | None) -> dict[str, Any]:
    """The entries of a diffusers config. An unknown one is null: left out, diffusers would silently put SD1's
    0.18215."""
    if normalization is None:
        return {"scaling_factor": None}
    channels = max(len(normalization.shift), len(normalization.scale))
    if channels > 1:
        return {"scaling_factor": 1.0} | mean_and_deviation(normalization, channels)
    refuse_rearranged(normalization)
    return {"scaling_factor": normalization.scale[0], "shift_factor": normalization.shift[0] or None}


def mean_and_deviation(normalization: LatentNormalization | None, channels: int) -> dict[str, Any]:
    """The normalization as one mean and one standard deviation for each channel; null where it is unknown, for the same
    reason: left out, the classes that know no factor would put in those of the models that they were written for."""
    if normalization is None:
        return {"latents_mean": None, "latents_std": None}
    refuse_rearranged(normalization)
    shift, scale = normalization.per_channel(channels)
    return {"latents_mean": list(shift), "latents_std": [1 / value for value in scale]}


def refuse_rearranged(normalization: LatentNormalization) -> None:
    patch = normalization.patch
    if patch > 1:
        raise WrongTensors(
            f"diffusers has no setting for this normalization, which rearranges {patch}x{patch} latents.",
            "",
            'Save the VAE in the "native" layout.',
        )


def one_factor(normalization: LatentNormalization | None, name: str) -> dict[str, Any]:
    """The config entries of a class of diffusers that has one factor and nothing else.

    Raises:
        WrongTensors: the normalization is more than that.
    """
    settings = diffusers_normalization(normalization)
    if "latents_mean" in settings or settings.get("shift_factor"):
        raise WrongTensors(
            f"diffusers' {name} has no setting for this normalization, which shifts latents or scales them by channel.",
            "",
            'Save the VAE in the "native" layout.',
        )
    return {"scaling_factor": settings["scaling_factor"]}


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


@dataclass(frozen=True)
class NormalizationTensors:
    """Tensors in a file that belong to no net and tell the normalization, by native keys."""

    description: str
    """What they are, as a noun in the plural."""
    vectors: tuple[str, ...]
    """Keys of vectors of floating point that are all needed."""
    counters: tuple[str, ...]
    """Keys of single values that may be there and tell nothing."""
    length: Callable[[Any], int]
    """The number of elements of each vector, for a config."""
    read: Callable[[Mapping[str, Tensor], Mapping[str, Any]], LatentNormalization | None]
    """The normalization, from the vectors and a diffusers config; None where values make none."""
    write: Callable[[Any, LatentNormalization | None], dict[str, Tensor]]
    """The inverse, for a config: all tensors; empty where they cannot express a normalization."""

    @property
    def keys(self) -> frozenset[str]:
        """All of their keys."""
        return frozenset((*self.vectors, *self.counters))


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


def epsilon_in(settings: Mapping[str, Any]) -> float:
    """What a diffusers config says is added to the variance, if it says something sensible."""
    told = settings.get("batch_norm_eps")
    return told if isinstance(told, float) and 0 < told < 1 else EPSILON


BATCH_NORM = NormalizationTensors(
    description="batch-norm statistics",
    vectors=(MEAN, VARIANCE),
    counters=(COUNT,),
    length=lambda config: PATCH**2 * config.latent_channels,
    read=lambda tensors, settings: normalization_of(tensors[MEAN], tensors[VARIANCE], epsilon_in(settings)),
    write=lambda config, normalization: statistics_of(normalization, config.latent_channels),
)
"""FLUX.2's: the statistics of a batch norm over raw latents that are rearranged 2x2."""

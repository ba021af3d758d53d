"""Normalizations in diffusers' configs and in tensors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vaekit.errors import WrongTensors
from vaekit.families.layout import Rules
from vaekit.normalization import LatentNormalization


def diffusers_normalization(normalization: LatentNormalization | None) -> dict[str, Any]:
    """The entries of a diffusers config. An unknown normalization is null: without an entry, diffusers would silently
    use SD1's 0.18215."""
    if normalization is None:
        return {"scaling_factor": None}
    channels = max(len(normalization.shift), len(normalization.scale))
    if channels > 1:
        return {"scaling_factor": 1.0} | mean_and_std(normalization, channels)
    refuse_rearranged(normalization)
    return {"scaling_factor": normalization.scale[0], "shift_factor": normalization.shift[0] or None}


def mean_and_std(normalization: LatentNormalization | None, channels: int) -> dict[str, Any]:
    """The normalization as mean and standard deviation per channel; null if unknown: without entries, classes without a
    factor would use the values of the models that they were written for."""
    if normalization is None:
        return {"latents_mean": None, "latents_std": None}
    refuse_rearranged(normalization)
    shift, scale = normalization.per_channel(channels)
    return {"latents_mean": list(shift), "latents_std": [1 / value for value in scale]}


def stated_factor(normalization: LatentNormalization | None) -> float | None:
    """The scaling factor in the config of a class with means and standard deviations, too: 1, which leaves all to them;
    null if the normalization is unknown."""
    return None if normalization is None else 1.0


def refuse_rearranged(normalization: LatentNormalization) -> None:
    patch = normalization.patch
    if patch > 1:
        raise WrongTensors(
            f"diffusers has no setting for this normalization, which rearranges {patch}x{patch} latents.",
            "",
            'Save the VAE in the "native" layout.',
        )


def one_factor(normalization: LatentNormalization | None, name: str) -> dict[str, Any]:
    """The config entries of a class of diffusers that has only a scaling factor.

    Raises:
        WrongTensors: the normalization has a shift, or values per channel.
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
    parse = LatentNormalization.from_values
    mean, std = settings.get("latents_mean"), settings.get("latents_std")
    if isinstance(mean, list) and isinstance(std, list):
        factor = parse([0.0], [settings.get("scaling_factor", 1.0)])  # video classes have no factor
        if parse(mean, std) is None or factor is None:
            return None
        return parse(mean, [factor.scale[0] / value for value in std])
    return parse([settings.get("shift_factor") or 0.0], [settings.get("scaling_factor")])


@dataclass(frozen=True)
class NormalizationTensors:
    """Tensors in a file that store the normalization and are not part of a net, by native key."""

    description: str
    """A plural noun, for messages."""
    vectors: tuple[str, ...]
    """The keys of the required floating-point vectors."""
    counters: tuple[str, ...]
    """The keys of optional scalars without information."""
    length: Callable[[Any], int]
    """Returns the length of each vector, for a config."""
    read: Callable[[Mapping[str, Tensor], Mapping[str, Any]], LatentNormalization | None]
    """Derives the normalization from the vectors and a diffusers config; None if values are invalid."""
    write: Callable[[Any, LatentNormalization | None], dict[str, Tensor]]
    """The inverse, for a config: all tensors; empty if they cannot express the normalization."""

    @property
    def keys(self) -> frozenset[str]:
        """All keys."""
        return frozenset((*self.vectors, *self.counters))


STATISTICS: Rules = tuple((key, key) for key in ("bn.running_mean", "bn.running_var", "bn.num_batches_tracked"))
"""The same names in every layout."""


PATCH = 2
"""Raw latents are rearranged 2x2 before the statistics apply."""


EPSILON = 1e-4
"""FLUX.2's epsilon, added to the variance; a diffusers config may state another."""


MEAN, VARIANCE, COUNT = (native for native, _ in STATISTICS)


def normalization_of(mean: Tensor, variance: Tensor, epsilon: float) -> LatentNormalization | None:
    """The normalization of batch-norm statistics; None if they are non-finite, or a variance is negative."""
    if not (mean.isfinite().all() and variance.isfinite().all() and (variance >= 0).all()):
        return None
    scale = (variance.double() + epsilon).rsqrt()
    return LatentNormalization(tuple(mean.double().tolist()), tuple(scale.tolist()), PATCH)


def statistics_of(normalization: LatentNormalization | None, latent_channels: int) -> dict[str, Tensor]:
    """The native tensors of a normalization: the inverse of `normalization_of`; empty if they cannot express it.

    The counter of training batches is written as zero; batch norm ignores it.
    """
    if normalization is None or normalization.patch != PATCH:
        return {}
    channels = PATCH**2 * latent_channels
    shift, scale = (spread(values, channels) for values in (normalization.shift, normalization.scale))
    # The difference of two nearly equal values, rounded to fp32, may be slightly negative.
    variance = (scale.pow(-2) - EPSILON).float()
    if (scale < 0).any() or (variance < -EPSILON * 1e-6).any():
        return {}
    return {MEAN: shift.float(), VARIANCE: variance.clamp(min=0), COUNT: torch.tensor(0)}


def spread(values: Sequence[float], channels: int) -> Tensor:
    """One value for each channel, from one for each or one for all."""
    return torch.tensor(values, dtype=torch.float64).expand(channels).clone()


def epsilon_in(settings: Mapping[str, Any]) -> float:
    """The epsilon in a diffusers config, if it has a valid one."""
    epsilon = settings.get("batch_norm_eps")
    return epsilon if isinstance(epsilon, float) and 0 < epsilon < 1 else EPSILON


BATCH_NORM = NormalizationTensors(
    description="batch-norm statistics",
    vectors=(MEAN, VARIANCE),
    counters=(COUNT,),
    length=lambda config: PATCH**2 * config.latent_channels,
    read=lambda tensors, settings: normalization_of(tensors[MEAN], tensors[VARIANCE], epsilon_in(settings)),
    write=lambda config, normalization: statistics_of(normalization, config.latent_channels),
)
"""FLUX.2's statistics of a batch norm over raw latents that are rearranged 2x2."""


LATENTS_MEAN, LATENTS_STD = "latents_mean", "latents_std"
"""diffusers' names of the vectors of means and standard deviations of latents in a file."""


def normalization_of_vectors(tensors: Mapping[str, Tensor], _: Mapping[str, Any]) -> LatentNormalization | None:
    """The normalization of means and standard deviations; None if they are invalid."""
    mean, std = tensors[LATENTS_MEAN].double(), tensors[LATENTS_STD].double()
    if not (mean.isfinite().all() and std.isfinite().all() and (std > 0).all()):
        return None
    return LatentNormalization.from_mean_and_std(mean.tolist(), std.tolist(), 1.0)


def vectors_of(config: Any, normalization: LatentNormalization | None) -> dict[str, Tensor]:
    """The inverse of `normalization_of_vectors`; empty if the tensors cannot express the normalization."""
    if normalization is None or normalization.patch != 1:
        return {}
    shift, scale = normalization.per_channel(config.latent_channels)
    return {LATENTS_MEAN: torch.tensor(shift), LATENTS_STD: torch.tensor([1 / value for value in scale])}


MEAN_AND_STD = NormalizationTensors(
    description="mean and standard deviation vectors",
    vectors=(LATENTS_MEAN, LATENTS_STD),
    counters=(),
    length=lambda config: config.latent_channels,
    read=normalization_of_vectors,
    write=vectors_of,
)
"""The statistics of LTX-Video and LTX-2: of each latent channel."""

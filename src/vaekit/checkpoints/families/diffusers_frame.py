"""A normalization as entries of diffusers' configs."""

from typing import Any

from vaekit.errors import WrongTensors
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

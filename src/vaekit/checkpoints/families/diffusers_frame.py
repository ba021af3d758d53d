"""A frame in the words of diffusers' configs."""

from typing import Any

from vaekit.errors import WrongTensors
from vaekit.vae import LatentFrame


def diffusers_frame(frame: LatentFrame | None) -> dict[str, Any]:
    """The frame in diffusers' words. An unknown one is null: left out, diffusers would silently put SD1's 0.18215."""
    if frame is None:
        return {"scaling_factor": None}
    channels = max(len(frame.shift), len(frame.scale))
    if channels > 1:
        return {"scaling_factor": 1.0} | mean_and_deviation(frame, channels)
    refuse_rearranged(frame)
    return {"scaling_factor": frame.scale[0], "shift_factor": frame.shift[0] or None}


def mean_and_deviation(frame: LatentFrame | None, channels: int) -> dict[str, Any]:
    """The frame as one mean and one standard deviation for each channel; null where it is unknown, for the same
    reason: left out, the classes that know no factor would put in those of the models that they were written for."""
    if frame is None:
        return {"latents_mean": None, "latents_std": None}
    refuse_rearranged(frame)
    shift, scale = (values * (channels // len(values)) for values in (frame.shift, frame.scale))
    return {"latents_mean": list(shift), "latents_std": [1 / value for value in scale]}


def refuse_rearranged(frame: LatentFrame) -> None:
    if frame.patch > 1:
        raise WrongTensors(
            f"diffusers has no word for this frame, which rearranges {frame.patch}x{frame.patch} latents.",
            "",
            'Save the VAE in the "native" layout.',
        )


def one_factor(frame: LatentFrame | None, name: str) -> dict[str, Any]:
    """The frame in the words of a class of diffusers that knows one factor and nothing else.

    Raises:
        WrongTensors: the frame is more than that.
    """
    settings = diffusers_frame(frame)
    if "latents_mean" in settings or settings.get("shift_factor"):
        raise WrongTensors(
            f"diffusers' {name} has no word for this frame, which shifts latents or scales them by channel.",
            "",
            'Save the VAE in the "native" layout.',
        )
    return {"scaling_factor": settings["scaling_factor"]}

"""A frame in the words of diffusers' configs."""

from typing import Any

from vaekit.errors import WrongTensors
from vaekit.vae import LatentFrame


def diffusers_frame(frame: LatentFrame | None) -> dict[str, Any]:
    """The frame in diffusers' words. An unknown one is null: left out, diffusers would silently put SD1's 0.18215."""
    if frame is None:
        return {"scaling_factor": None}
    if frame.patch > 1:
        raise WrongTensors(
            f"diffusers has no word for this frame, which rearranges {frame.patch}x{frame.patch} latents.",
            "",
            'Save the VAE in the "native" layout.',
        )
    if len(frame.shift) > 1 or len(frame.scale) > 1:
        channels = max(len(frame.shift), len(frame.scale))
        shift, scale = (values * (channels // len(values)) for values in (frame.shift, frame.scale))
        return {"scaling_factor": 1.0, "latents_mean": list(shift), "latents_std": [1 / value for value in scale]}
    return {"scaling_factor": frame.scale[0], "shift_factor": frame.shift[0] or None}


def one_factor(frame: LatentFrame | None, name: str) -> dict[str, Any]:
    """The frame for a class that knows one factor and nothing else.

    Raises:
        WrongTensors: the frame shifts latents, or scales them by channel.
    """
    settings = diffusers_frame(frame)
    if "latents_mean" in settings or settings.get("shift_factor"):
        raise WrongTensors(
            f"diffusers' {name} has no word for this frame, which shifts latents or scales them by channel.",
            "",
            'Save the VAE in the "native" layout.',
        )
    return {"scaling_factor": settings["scaling_factor"]}

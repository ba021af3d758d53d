"""Latent normalization: the affine map between a VAE's raw latents and the latents that diffusion models see.

The record knows nothing of torch; `vaekit.vae.normalize` and `denormalize` apply it to tensors.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self, TypeGuard

LARGEST_PATCH = 16


@dataclass(frozen=True)
class LatentNormalization:
    """How raw latents (what the decoder takes) relate to latents (what a diffusion model sees):

        latents = (unshuffle(raw, patch) - shift) * scale        raw = shuffle(latents / scale + shift)

    One affine form holds every published convention: a scalar scale and shift (SD1: 0.18215; FLUX.1: 0.3611 and
    0.1159), a mean and standard deviation per channel (Playground 2.5), and FLUX.2's 2x2 rearrangement followed by
    batch-norm statistics.

    Args:
        shift: one value, or one for each channel after rearrangement.
        scale: one value, or one for each channel after rearrangement; none is zero.
        patch: side of the squares of positions that are rearranged into channels (pixel unshuffle); 1 for none.
    """

    shift: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)
    patch: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "shift", tuple(map(float, self.shift)))
        object.__setattr__(self, "scale", tuple(map(float, self.scale)))

    @classmethod
    def from_mean_and_std(
        cls, mean: Iterable[float], std: Iterable[float], target_std: float = 1.0, patch: int = 1
    ) -> Self:
        """The normalization that brings raw latents of this mean and standard deviation to mean 0 and `target_std`."""
        return cls(tuple(mean), tuple(target_std / value for value in std), patch)

    @classmethod
    def from_values(cls, shift: object, scale: object, patch: object = 1) -> Self | None:
        """A normalization from untrusted values, such as those of a file.

        Returns:
            None unless shift and scale are non-empty lists of finite numbers, no scale is zero, and the patch is a
            whole number from 1 to `LARGEST_PATCH`.
        """
        if not (_are_finite_numbers(shift) and _are_finite_numbers(scale) and all(scale)):
            return None
        if type(patch) is not int or not 1 <= patch <= LARGEST_PATCH:
            return None
        return cls(tuple(shift), tuple(scale), patch)

    @classmethod
    def from_json(cls, value: object) -> Self | None:
        """The inverse of `as_json`; None for anything else, see `from_values`."""
        if not isinstance(value, dict):
            return None
        return cls.from_values(value.get("shift"), value.get("scale"), value.get("patch"))

    def as_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return {"shift": list(self.shift), "scale": list(self.scale), "patch": self.patch}

    def fits(self, latent_channels: int) -> bool:
        """Whether shift and scale have one value, or one for each channel that raw latents of `latent_channels` have
        after rearrangement."""
        lengths = {1, latent_channels * self.patch**2}
        return len(self.shift) in lengths and len(self.scale) in lengths

    def per_channel(self, latent_channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Shift and scale with one value for each of the `latent_channels * patch**2` channels after rearrangement.

        Only for a normalization that fits these channels.
        """
        channels = latent_channels * self.patch**2
        return self.shift * (channels // len(self.shift)), self.scale * (channels // len(self.scale))

    def __str__(self) -> str:
        """For messages: scale and shift, or how many channels have their own."""
        channels = max(len(self.scale), len(self.shift))
        if channels > 1:
            return f"normalization of {channels} channels"
        return f"scale {self.scale[0]:g}, shift {self.shift[0]:g}"


def _are_finite_numbers(values: object) -> TypeGuard[list[float]]:
    return (
        isinstance(values, list)
        and bool(values)
        and all(type(value) in (int, float) and abs(value) <= sys.float_info.max for value in values)
    )

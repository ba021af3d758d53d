"""Latent normalization: the affine map between a VAE's raw latents and the latents that diffusion models see.

The record does not depend on torch; `vaekit.vae.normalize` and `denormalize` apply it to tensors.
"""

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self, TypeGuard

LARGEST_PATCH = 16
TOLERANCE = 2**-7
"""The maximum relative difference of two values that are equal up to rounding. Rounding to bf16, which has 8
significant bits, changes a value by up to 2**-8, and both values may be rounded: one file may hold variances in bf16,
the other standard deviations. Different published latent spaces with equal numbers of channels differ by at least 3.5 %
(TAESANA and HunyuanVideo 1.5: 1 and 1.03682), SD1's and SDXL's by 28 %; `tests/catalog/test_entries.py` computes this
from the catalog."""
ZERO_SHIFT = 1e-4
"""Shifts that differ by less, in standard deviations of latents, are equal regardless of the relative difference: near
zero, rounding to fp16 has an absolute error."""


@dataclass(frozen=True)
class LatentNormalization:
    """How raw latents (what the decoder takes) relate to latents (what a diffusion model sees):

        latents = (unshuffle(raw, patch) - shift) * scale        raw = shuffle(latents / scale + shift)

    One affine form covers every published convention: a scalar scale and shift (SD1: 0.18215; FLUX.1: 0.3611 and
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
        """The normalization that maps raw latents with this mean and standard deviation to mean 0 and `target_std`."""
        return cls(tuple(mean), tuple(target_std / value for value in std), patch)

    @classmethod
    def from_values(cls, shift: object, scale: object, patch: object = 1) -> Self | None:
        """A normalization from untrusted values, such as those of a file.

        Returns:
            None unless shift and scale are non-empty lists of finite numbers, no scale is zero, and the patch is an
            integer from 1 to `LARGEST_PATCH`.
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

    def is_close(self, other: "LatentNormalization", *, channels: int, tolerance: float = TOLERANCE) -> bool:
        """Whether two normalizations are the same up to rounding of their values.

        Args:
            other: the other normalization; either may have one value for all channels or one for each.
            channels: of the raw latents; a normalization that does not fit them is not close to any.
            tolerance: the largest relative difference of a value, see `TOLERANCE`.
        """
        if self.patch != other.patch or not (self.fits(channels) and other.fits(channels)):
            return False
        pairs = zip(*self.per_channel(channels), *other.per_channel(channels), strict=True)
        return all(
            math.isclose(scale, other_scale, rel_tol=tolerance)
            and (
                math.isclose(shift, other_shift, rel_tol=tolerance)
                or abs(shift - other_shift) * max(abs(scale), abs(other_scale)) < ZERO_SHIFT
            )
            for shift, scale, other_shift, other_scale in pairs
        )

    def __str__(self) -> str:
        """For messages: scale and shift, or the number of channels if they differ."""
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

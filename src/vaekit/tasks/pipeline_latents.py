"""The latents that pipelines hold, as maps: FLUX's are sequences of patches, those of video models have a frame."""

from torch import Tensor
from torch.nn import functional as F

PACKED, MAPS, VIDEO = 3, 4, 5
"""Axes of latents as a sequence of patches, as maps, and as a video with one frame."""


def as_maps(latents: Tensor, channels: int, size: tuple[int, int] | None) -> Tensor | None:
    """The latents of a pipeline as maps (b, channels, i, j); None if they have an unknown form.

    Args:
        latents: maps, also of patches (b, channels * p^2, i / p, j / p); sequences of patches in rows
            (b, n, channels * p^2); or either with one frame, in the second or third axis.
        channels: of latents after normalization.
        size: (height, width) of the images; None for squares.
    """
    if latents.dim() == VIDEO and 1 in latents.shape[1:3]:
        latents = latents.squeeze(1 if latents.shape[1] == 1 else 2)
    if latents.dim() == PACKED:
        latents = unpacked(latents, size or (1, 1))
    if latents.dim() != MAPS:
        return None
    patch = round((latents.shape[1] / channels) ** 0.5)
    if not patch or latents.shape[1] != channels * patch**2:
        return None
    return F.pixel_shuffle(latents, patch)


def unpacked(latents: Tensor, size: tuple[int, int]) -> Tensor:
    """A sequence (b, n, c) of positions in rows -> (b, c, i, j) in the proportions of a size; unchanged if n has no
    such factors."""
    rows = round((latents.shape[1] * size[0] / size[1]) ** 0.5)
    if not rows or latents.shape[1] % rows:
        return latents
    return latents.movedim(1, 2).unflatten(2, (rows, latents.shape[1] // rows))

"""Terms about images: structure, color, and equivariance of latents."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from vaekit.errors import BadRecipe
from vaekit.metrics.image.oklab import oklab as as_oklab
from vaekit.metrics.image.ssim import ssim as similarity
from vaekit.shapes import PerItem
from vaekit.training.objectives import Pass, Term
from vaekit.training.terms.plain import item_means


def ssim() -> Term:
    """1 - SSIM between image and reconstruction (Wang et al. 2004), in fp32 under any autocast."""
    return Term(structural_distance, nats=False)


def structural_distance(forward: Pass) -> PerItem:
    """1 - SSIM of each image, (b,)."""
    with torch.autocast(forward.x.device.type, enabled=False):
        return 1 - similarity(forward.x.float(), forward.result.float())


def oklab(power: int = 1) -> Term:
    """The distance of colors in Oklab, the mean over positions and the three coordinates.

    Args:
        power: 1 for absolute, 2 for squared differences. Furception was trained with both: two terms, one of them
            under another name with `term = "oklab"`.

    Raises:
        ValueError: power is another number.
    """
    if power not in (1, 2):
        raise ValueError(f"power must be 1 or 2, not {power}")
    return Term(partial(color_distance, power), nats=False)


def color_distance(power: int, forward: Pass) -> PerItem:
    """The mean of |difference in Oklab|^power of each image, (b,)."""
    with torch.autocast(forward.x.device.type, enabled=False):
        differences = as_oklab(forward.result.float()) - as_oklab(forward.x.float())
    return item_means(differences.abs().pow(power))


EQ_SCALES = tuple(step / 32 for step in range(8, 32))
"""The scales of EQ-VAE: 1/4 to 31/32."""


def equivariance(
    scales: Sequence[float] = EQ_SCALES, rotate: bool = True, flip: bool = False, probability: float = 0.5
) -> Term:
    """Mean absolute error of decode(t(z)) against t(x), for a random transformation t of each batch.

    By default t scales, and rotates by a multiple of 90 degrees, as EQ-VAE does (Kouzelis et al. 2025, arXiv
    2502.09509, eq. 5; this is the pixel part of its loss). With `scales = [0.5, 0.25]`, `rotate = false`,
    `probability = 1` it is the scale equivariance of Skorokhodov et al. 2025 (arXiv 2502.14831).

    Args:
        scales: one is drawn at random; bilinear interpolation. Empty for no scaling.
        rotate: whether to rotate, by 90, 180 or 270 degrees.
        flip: whether to flip horizontally, with probability 0.5.
        probability: of transforming a batch at all; otherwise the term is 0 and costs nothing.

    Raises:
        ValueError: no transformation is left, or a value is out of range.
    """
    if not (scales or rotate or flip):
        raise ValueError("equivariance needs scales, rotate or flip")
    if not all(0 < scale <= 1 for scale in scales) or not 0 <= probability <= 1:
        raise ValueError("scales and probability must be between 0 and 1")
    return Term(partial(equivariance_error, tuple(scales), rotate, flip, probability), nats=False)


def equivariance_error(
    scales: Sequence[float], rotate: bool, flip: bool, probability: float, forward: Pass
) -> PerItem | Tensor:
    """The error of each item, (b,), or a scalar 0 for a batch that is not transformed.

    Raises:
        BadRecipe: the latents have no spatial axes.
    """
    if torch.rand((), generator=forward.generator).item() >= probability:
        return torch.zeros((), device=forward.x.device)
    if forward.z.dim() != 4:
        raise BadRecipe("The term equivariance requires latents with spatial axes.", "", "")
    z, x = transformed(forward.z, forward.x, scales, rotate, flip, forward.generator)
    return item_means((forward.vae.decode(z) - x).abs())


def transformed(
    z: Tensor, x: Tensor, scales: Sequence[float], rotate: bool, flip: bool, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Latents (b, z, i, j) and images (b, c, h, w), scaled, rotated and flipped in the same random way. The sizes may
    change; the factor between them stays."""
    if scales:
        scale = scales[int(torch.randint(len(scales), (), generator=generator))]
        factor = x.shape[2] // z.shape[2]
        rows, columns = (max(2, round(side * scale)) for side in z.shape[2:])
        z = F.interpolate(z, (rows, columns), mode="bilinear", align_corners=False)
        size = (rows * factor, columns * factor)
        x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
    if rotate:
        quarters = int(torch.randint(1, 4, (), generator=generator))
        z, x = z.rot90(quarters, (2, 3)), x.rot90(quarters, (2, 3))
    if flip and torch.rand((), generator=generator).item() < 0.5:
        z, x = z.flip(3), x.flip(3)
    return z, x

"""Terms about images: structure, color, and equivariance of latents."""

from collections.abc import Sequence

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
    """1 - SSIM between the result and the image (Wang et al. 2004), in fp32 under any autocast."""

    def of(seen: Pass) -> PerItem:
        with torch.autocast(seen.x.device.type, enabled=False):
            return 1 - similarity(seen.x.float(), seen.result.float())

    return Term(of, nats=False)


def oklab(power: int = 1) -> Term:
    """The distance of colors in Oklab, the mean over positions and its three coordinates.

    Args:
        power: 1 for absolute, 2 for squared differences. Furception was trained with both: two terms, one of them
            named freely with `term = "oklab"`.
    """
    if power not in (1, 2):
        raise ValueError(f"power must be 1 or 2, not {power}")

    def of(seen: Pass) -> PerItem:
        with torch.autocast(seen.x.device.type, enabled=False):
            differences = as_oklab(seen.result.float()) - as_oklab(seen.x.float())
        return item_means(differences.abs().pow(power))

    return Term(of, nats=False)


EQ_SCALES = tuple(step / 32 for step in range(8, 32))
"""Of EQ-VAE: 1/4 to 31/32."""


def equivariance(
    scales: Sequence[float] = EQ_SCALES, rotate: bool = True, flip: bool = False, probability: float = 0.5
) -> Term:
    """Mean absolute error of decode(t(z)) against t(x), for a transformation t drawn anew for each batch.

    With the defaults t scales and turns by a quarter, a half or three quarters, as EQ-VAE does (Kouzelis et al. 2025,
    arXiv 2502.09509, eq. 5, of whose loss this is the part in pixels). With `scales = [0.5, 0.25]`, `rotate = false`,
    `probability = 1` it is the scale equivariance of Skorokhodov et al. 2025 (arXiv 2502.14831).

    Args:
        scales: one is drawn; bilinear. Empty: the size stays.
        rotate: whether to turn, by one to three quarters.
        flip: whether to mirror, in half of the batches that are transformed.
        probability: of a batch to be transformed at all; else the term is 0 and costs nothing.

    Raises:
        ValueError: nothing is left that could be done, or a number makes no sense.
    """
    if not (scales or rotate or flip):
        raise ValueError("equivariance needs scales, rotate or flip")
    if not all(0 < scale <= 1 for scale in scales) or not 0 <= probability <= 1:
        raise ValueError("scales and probability must be between 0 and 1")

    def of(seen: Pass) -> Tensor:
        if torch.rand((), generator=seen.generator).item() >= probability:
            return torch.zeros((), device=seen.x.device)
        if seen.z.dim() != 4:
            raise BadRecipe("The term equivariance requires latents with spatial axes.", "", "")
        z, x = transformed(seen.z, seen.x, scales, rotate, flip, seen.generator)
        return item_means((seen.vae.decode(z) - x).abs())

    return Term(of, nats=False)


def transformed(
    z: Tensor, x: Tensor, scales: Sequence[float], rotate: bool, flip: bool, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Latents (b, z, i, j) and their images (b, c, h, w), scaled, turned and mirrored in the same random way: of
    other sizes, but of the same factor between them."""
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

"""Whether one VAE decodes the latents of another, measured on test images.

Families, shapes and a normalization do not determine latents: TAESD decodes those of SD1, and two VAEs with the same
normalization may have been trained apart.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from vaekit.runtime.engine import Engine
from vaekit.testcards.channels import in_channels
from vaekit.testcards.dead_leaves import dead_leaves
from vaekit.vae import denormalize, normalize

POSITIONS = 8
"""Latent positions per side of the test images."""
IMAGES = 4
WORKS, AGREES = 0.9, 0.8
"""Correlations of decoded with original colors, averaged over each latent position: at least the first one for a VAE
that was trained, at least the second one for another that decodes its latents. Other latents become other colors."""


def latent_agreement(own: Engine, other: Engine) -> float | None:
    """The correlation of test images with what `other` decodes of the latents of `own`, in colors that are averaged
    over each position; -1 if that is non-finite.

    Returns:
        None if `own` has no encoder or does not reproduce the images itself, or a normalization is unknown.
    """
    mine, theirs, geometry = own.vae.normalization, other.vae.normalization, own.geometry
    if own.vae.encoder is None or mine is None or theirs is None:
        return None
    size = geometry.size or geometry.size_of((POSITIONS, POSITIONS))
    images = dead_leaves(IMAGES, (size[0], size[1]), torch.Generator().manual_seed(0))
    images = in_channels(images, geometry.channels)
    raw = own.encode(images).mode
    if correlation(own.decode(raw), images) < WORKS:
        return None
    return correlation(other.decode(denormalize(normalize(raw, mine), theirs)), images)


def correlation(decoded: Tensor, images: Tensor) -> float:
    """The correlation of two batches of images, averaged over squares; -1 for non-finite images."""
    one, other = (F.adaptive_avg_pool2d(batch.float(), POSITIONS).flatten() for batch in (decoded, images))
    if not one.isfinite().all():
        return -1.0
    value = torch.corrcoef(torch.stack([one, other]))[0, 1]
    return float(value) if value.isfinite() else 0.0

"""Encode items to latents for embeddings: images are resized first, so that all latents have one size."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from vaekit.checkpoints.latent_files import LatentOrigin
from vaekit.runtime.engine import Engine
from vaekit.shapes import AnyLatents, Images, Items
from vaekit.vae import normalize

SIDE = 64
"""The side of the squares that whole images are resized to, for VAEs that take any size."""


@dataclass(frozen=True, eq=False)
class LatentEncoder:
    """Items to normalized latents: the mode of the posterior."""

    engine: Engine
    origin: LatentOrigin
    """The identity of its VAE."""

    @property
    def size(self) -> tuple[int, ...] | None:
        """The size of items for the VAE; None if items keep theirs. Images of other sizes may be given, too."""
        geometry = self.engine.geometry
        return geometry.size if geometry.size is not None or geometry.axes != 2 else (SIDE, SIDE)

    @property
    def latent_shape(self) -> tuple[int, ...] | None:
        """The shape of one latent, channels first; None if it depends on the item."""
        geometry, normalization = self.engine.geometry, self.engine.vae.normalization
        patch = 1 if normalization is None else normalization.patch
        if self.size is None and geometry.axes:
            return None
        extents = geometry.latent_size(self.size or ())
        return (geometry.latent_channels * patch**2, *(extent // patch for extent in extents))

    def __call__(self, x: Items) -> AnyLatents:
        """Encode items (b, ...) to latents (b, z, ...), normalized if the VAE has a normalization.

        Raises:
            HalfMissing: the VAE has no encoder.
            BadItem: it does not take these items.
        """
        size = self.size
        z = self.engine.encode(x if size is None or len(size) != 2 else at_size(x, (size[0], size[1]))).mode
        normalization = self.engine.vae.normalization
        return (z if normalization is None else normalize(z, normalization)).float()


def at_size(x: Images, size: tuple[int, int]) -> Tensor:
    """Whole images (b, c, h, w) in [-1, 1] in another size, antialiased bicubic; the aspect ratio may change."""
    if tuple(x.shape[2:]) == size:
        return x
    return F.interpolate(x, size, mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)

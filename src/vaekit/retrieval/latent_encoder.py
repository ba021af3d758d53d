"""Encode items to latents for embeddings: whole images are resized first, so that all latents have one size."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from vaekit.checkpoints.latent_files import LatentOrigin
from vaekit.runtime.engine import Engine
from vaekit.shapes import AnyLatents, Images, Items
from vaekit.vae import normalize

SIDE = 64
"""The largest side of the squares that whole images are resized to, for VAEs that take any size."""


@dataclass(frozen=True, eq=False)
class LatentEncoder:
    """Items to normalized latents: the mode of the posterior."""

    engine: Engine
    origin: LatentOrigin
    """The identity of its VAE."""

    @property
    def takes_any_size(self) -> bool:
        """Whether its VAE takes images of any size."""
        return self.engine.geometry.axes == 2 and self.engine.geometry.size is None

    def item_size(self, side: int = SIDE) -> tuple[int, ...] | None:
        """The size of items as they are encoded; None if they keep theirs.

        Args:
            side: of images, for VAEs that take any size: at least that many pixels, and whole latent positions.
        """
        geometry = self.engine.geometry
        if not self.takes_any_size:
            return geometry.size
        patch = 1 if self.engine.vae.normalization is None else self.engine.vae.normalization.patch
        return tuple(-(-side // (factor * patch)) * factor * patch for factor in geometry.factors)

    def latent_shape(self, side: int = SIDE) -> tuple[int, ...] | None:
        """The shape of the latent of an item, channels first; None if it depends on the item."""
        geometry, size = self.engine.geometry, self.item_size(side)
        if size is None and geometry.axes:
            return None
        return (geometry.latent_channels, *geometry.latent_size(size or ()))

    def __call__(self, x: Items, side: int = SIDE) -> AnyLatents:
        """Encode items (b, ...) to raw latents (b, z, ...), shifted and scaled as for a diffusion model where that
        normalization is known.

        Args:
            x: items. Images may have any size.
            side: see `item_size`.

        Raises:
            HalfMissing: the VAE has no encoder.
            BadItem: it does not take these items.
        """
        size = self.item_size(side)
        z = self.engine.encode(at_size(x, (size[0], size[1])) if size is not None and len(size) == 2 else x).mode
        normalization = self.engine.vae.normalization
        if normalization is not None:
            z = normalize(z, normalization)
            z = F.pixel_shuffle(z, normalization.patch) if normalization.patch > 1 else z
        return z.float()


def at_size(x: Images, size: tuple[int, int]) -> Tensor:
    """Whole images (b, c, h, w) in [-1, 1] in another size, antialiased bicubic; the aspect ratio may change."""
    if tuple(x.shape[2:]) == size:
        return x
    return F.interpolate(x, size, mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)

"""Previews of what a diffusion model of vaekit generates, while it runs.

Latents of images are shown by a linear map to RGB, one pixel for each position, as for pipelines: decoding them would
take longer than a step of a small model. The map is that of the catalog for a known latent space, else it is fitted to
the examples in the model's file. Small maps and other latents are decoded: a dozen positions across show nothing as
pixels, vectors have no positions, and their decoders are small.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from vaekit.diffusion.files import DiffusionFile
from vaekit.domains.domain import Schema
from vaekit.latents.preview import LatentColors
from vaekit.metrics.image.color import as_rgb
from vaekit.normalization import LatentNormalization
from vaekit.tasks.latent_space import EncodedSpace, LatentSpace
from vaekit.tasks.previews import PREVIEW, known_colors, write_preview

LEAST_SIDE = 16
"""Positions along the shorter side of a map from which it is shown without decoding."""
FITTED = 4096
"""Positions to which colors are fitted; those of two examples at least."""
MAP_AXES = 3
"""Axes of a latent of an image: (z, i, j)."""


@dataclass(frozen=True, eq=False)
class GeneratorPreviews:
    """Writes previews of some items to one file."""

    path: Path
    space: LatentSpace
    show: Callable[[Tensor], list[Tensor]]
    """Raw latents (b, z, ...) -> items, or small images of them."""

    def write(self, latents: Tensor) -> None:
        """Replace the file by a preview for raw latents (b, z, ...), where the domain has images of its items.

        Raises:
            CannotWrite: the disk is full, or the like.
        """
        image = self.space.domain.preview(self.show(latents))
        if image is not None:
            write_preview(self.path, image[None])


def generator_previews(file: DiffusionFile, space: LatentSpace, schema: Schema, folder: Path) -> GeneratorPreviews:
    """Previews of the items of a model.

    Args:
        file: the model.
        space: decodes its latents.
        schema: of its items.
        folder: of the results.

    Raises:
        TooLittleMemory: the VAE cannot be run.
    """
    size, shape = file.facts.item_size, file.model.config.net.shape
    path = folder / PREVIEW
    if isinstance(space, EncodedSpace) and len(shape) == MAP_AXES and min(shape[1:]) >= LEAST_SIDE:
        colors = colors_of(space, file)
        return GeneratorPreviews(path, space, lambda latents: list(colors(latents).nan_to_num(0.0).split(1)))
    return GeneratorPreviews(path, space, lambda latents: list(schema.to_items(space.decode(latents, size))))


def colors_of(space: EncodedSpace, file: DiffusionFile) -> LatentColors:
    """The colors of raw latents: those of a known latent space, or fitted to a few training items."""
    vae = space.model.engine.vae
    known = known_colors(vae, vae.normalization or LatentNormalization())
    if known is not None:
        return known
    positions = file.examples[0, 0].numel()
    examples = file.examples[: max(2, FITTED // positions)]
    return LatentColors.fit(examples, as_rgb(space.decode(examples, file.facts.item_size)))

"""Previews of latents on their way through a diffusion model: a file that is replaced after every step.

In order of preference they are made by a tiny VAE with the same latents in a models folder, by the colors of a latent
space in the catalog, or by colors that are fitted to what the VAE itself encodes or decodes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from vaekit.catalog.entries import matching_latent_spaces
from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import family_and_config
from vaekit.domains.images.write import write_image
from vaekit.errors import VaekitError
from vaekit.latents.preview import LatentColors
from vaekit.library.folders import models_folders, scan_all
from vaekit.metrics.image.color import as_rgb
from vaekit.normalization import LatentNormalization
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.tasks.latent_agreement import AGREES, latent_agreement
from vaekit.testcards.channels import in_channels
from vaekit.testcards.dead_leaves import dead_leaves
from vaekit.vae import VAE, denormalize, normalize

PREVIEW = "PREVIEW.png"
"""The name of the file."""
LARGEST_FILE = 64 * 2**20
"""Bytes of a file in which a tiny VAE is looked for."""
MUCH_SMALLER = 4
"""A tiny VAE has at least this number of times fewer weights."""
IMAGES = 4
POSITIONS = 16
"""Latent positions per side of the images to which colors are fitted."""
COARSE = 4
"""Positions per side of the noise from which latents are made for a VAE without an encoder."""
SMALLEST = 256
"""Pixels: smaller previews are enlarged by an integer factor, by repeating pixels."""


@dataclass(frozen=True, eq=False)
class Previews:
    """Writes previews of latents to one file."""

    path: Path
    decode: Callable[[Tensor], Tensor]
    """Raw latents (b, z, i, j) -> images (b, 3, h, w) in [-1, 1]."""

    def write(self, raw: Tensor) -> None:
        """Replace the file by a preview of the first item, for raw latents (b, z, i, j).

        Raises:
            CannotWrite: the disk is full, or the like.
        """
        write_preview(self.path, self.decode(raw[:1].float().cpu()))


def write_preview(path: Path, image: Tensor) -> None:
    """Write an image (1, 3, h, w) in [-1, 1], which may have non-finite values; small ones are enlarged.

    Raises:
        CannotWrite: the disk is full, or the like.
    """
    factor = max(1, SMALLEST // max(image.shape[2:]))
    write_image(path, F.interpolate(image.float().nan_to_num(0.0), scale_factor=factor, mode="nearest"))


def previews_of(engine: Engine, path: Path, models: Sequence[Path] | None = None) -> Previews:
    """Previews of the latents of a VAE of images.

    Args:
        engine: runs the VAE.
        path: of the file.
        models: the models folders in which a tiny VAE may be; None for the user's own.

    Raises:
        TooLittleMemory: the VAE cannot be run.
    """
    normalization = engine.vae.normalization or LatentNormalization()
    tiny = tiny_vae(engine, models)
    if tiny is not None:
        return Previews(path, lambda raw: as_rgb(tiny.decode(tiny.vae.denormalize(normalize(raw, normalization)))))
    return Previews(path, known_colors(engine.vae, normalization) or fitted_colors(engine, normalization))


def tiny_vae(engine: Engine, models: Sequence[Path] | None) -> Engine | None:
    """A much smaller VAE in a models folder that decodes the latents of a VAE; None if there is none."""
    geometry, parameters = engine.geometry, parameters_of(engine)
    for weights in scan_all(models_folders(models))[0]:
        if weights.bytes > LARGEST_FILE:
            continue
        try:
            candidate = Engine(load(weights.path), Plan(device=engine.plan.device))
            alike = (candidate.geometry.latent_channels, candidate.geometry.factors) == (
                geometry.latent_channels,
                geometry.factors,
            )
            if not alike or candidate.vae.decoder is None or parameters_of(candidate) > parameters / MUCH_SMALLER:
                continue
            if (latent_agreement(engine, candidate) or 0) >= AGREES:
                return candidate
        except VaekitError:  # a file that is no VAE
            continue
    return None


def parameters_of(engine: Engine) -> int:
    """The number of weights of a decoder."""
    decoder = engine.vae.decoder
    return 0 if decoder is None else sum(weights.numel() for weights in decoder.parameters())


def known_colors(vae: VAE, normalization: LatentNormalization) -> LatentColors | None:
    """The colors of raw latents by the catalog, if it knows the latent space and its colors."""
    family, config = family_and_config(vae)
    channels = config.geometry.latent_channels
    for space in matching_latent_spaces(family.name, config):
        if space.colors is not None and space.has_normalization(normalization, channels):
            shift, scale = (torch.tensor(values) for values in normalization.per_channel(channels))
            offset = torch.tensor(space.colors_offset)
            return LatentColors(torch.tensor(space.colors), offset).after(scale, shift)
    return None


def fitted_colors(engine: Engine, normalization: LatentNormalization) -> LatentColors:
    """The colors of raw latents by least squares: of test images that the VAE encodes; without an encoder, of smooth
    noise that it decodes."""
    geometry = engine.geometry
    generator = torch.Generator().manual_seed(0)
    positions = (POSITIONS, POSITIONS)
    size = geometry.size or geometry.size_of(positions)
    if engine.vae.encoder is not None:
        images = dead_leaves(IMAGES, (size[0], size[1]), generator)
        raw = engine.encode(in_channels(images, geometry.channels)).mode
        return LatentColors.fit(raw, images)
    rows, columns = (side // normalization.patch for side in geometry.latent_size(size))
    noise = torch.randn(IMAGES, geometry.latent_channels * normalization.patch**2, COARSE, COARSE, generator=generator)
    raw = denormalize(F.interpolate(noise, (rows, columns), mode="bilinear"), normalization)
    return LatentColors.fit(raw, as_rgb(engine.decode(raw)))

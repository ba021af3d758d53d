"""Grids of images during training: originals, their reconstructions, and samples."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from vaekit.distributions import SampledPrior
from vaekit.domains.images.write import write_image
from vaekit.metrics.image.color import as_rgb
from vaekit.training.seeds import generator_for
from vaekit.vae import VAE

COLUMNS = 8
FOLDER = "images"
SMALL = 64
"""Smaller images are enlarged by repeating pixels."""


@torch.no_grad()
def grid_of(vae: VAE, x: Tensor) -> Tensor:
    """The first images (b, c, h, w) in one row, their reconstructions below, and, if the prior can be sampled, decoded
    samples with a fixed seed below these: (3, rows, columns) in [-1, 1]."""
    originals, prior = x[:COLUMNS], vae.prior
    latents = vae.encode(originals).mode
    rows = [originals, vae.decode(latents)]
    if isinstance(prior, SampledPrior):
        rows.append(vae.decode(prior.sample(latents, generator_for(0, "samples", 0))))
    grid = torch.cat([row_of(each.split(1)) for each in rows], dim=1)
    times = max(1, SMALL // x.shape[2])
    return grid.repeat_interleave(times, dim=1).repeat_interleave(times, dim=2)


def row_of(images: Sequence[Tensor]) -> Tensor:
    """Images (1, c, h, w) of one height side by side: (3, h, columns) in [-1, 1]."""
    return torch.cat([as_rgb(each.clamp(-1, 1))[0] for each in images], dim=2).float()


def show_in(folder: Path, vae: VAE, x: Tensor, samples: int) -> dict[str, Tensor]:
    """The grid, which is also written into the run folder."""
    grid = grid_of(vae, x)
    write_image(folder / FOLDER / f"{samples:012d}.png", grid.unsqueeze(0).cpu())
    return {"originals, results, samples": grid}

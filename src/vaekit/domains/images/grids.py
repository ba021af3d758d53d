"""Images of how training goes: originals, below them what comes back of them, below that what the prior makes."""

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
"""Images smaller than this are shown enlarged, pixel by pixel."""


@torch.no_grad()
def grid_of(vae: VAE, x: Tensor) -> Tensor:
    """The first images (b, c, h, w) in one row, results in a row below, and where the prior can be drawn from, what
    the decoder makes of its draws, the same ones at every look: (3, rows, columns) in [-1, 1]."""
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
    """The grid, also as a file of the run."""
    grid = grid_of(vae, x)
    write_image(folder / FOLDER / f"{samples:012d}.png", grid.unsqueeze(0).cpu())
    return {"originals, results, samples": grid}

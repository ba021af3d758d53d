"""Pictures of how training goes: originals above what comes back of them."""

from pathlib import Path

import torch
from torch import Tensor

from vaekit.domains.images.channels import as_rgb
from vaekit.domains.images.writing import write_picture
from vaekit.vae import VAE

COLUMNS = 8
FOLDER = "pictures"
SMALL = 64
"""Pictures smaller than this are shown enlarged, pixel by pixel."""


@torch.no_grad()
def reconstructions(vae: VAE, x: Tensor) -> Tensor:
    """The first pictures (b, c, h, w) in one row, results in a row below: (3, rows, columns) in [-1, 1]."""
    originals = x[:COLUMNS]
    results = vae.reconstruct(originals).clamp(-1, 1)
    rows = [torch.cat(list(as_rgb(each)), dim=2) for each in (originals, results)]
    grid = torch.cat(rows, dim=1).float()
    times = max(1, SMALL // x.shape[2])
    return grid.repeat_interleave(times, dim=1).repeat_interleave(times, dim=2)


def show_in(folder: Path, vae: VAE, x: Tensor, samples: int) -> dict[str, Tensor]:
    """The grid, also as a file of the run."""
    grid = reconstructions(vae, x)
    write_picture(folder / FOLDER / f"{samples:012d}.png", grid.unsqueeze(0).cpu())
    return {"reconstructions": grid}

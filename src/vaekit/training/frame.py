"""The frame of a trained VAE: measured, so that latents have mean 0 and standard deviation 1 over the data.

This is where SD1's 0.18215 comes from: one over the standard deviation of its raw latents (Rombach et al. 2022, arXiv
2112.10752, appendix G), there over one batch, here over as much of the data as is asked for.
"""

import math

import torch

from vaekit.training.data import Stream
from vaekit.vae import VAE, LatentFrame

DIGITS = 5


@torch.no_grad()
def measured_frame(vae: VAE, stream: Stream, items: int, batch: int) -> LatentFrame | None:
    """One shift and one scale for all channels, over the modes of the posteriors of so many items.

    None where the latents do not vary: no scale could make them.
    """
    device = next(vae.parameters()).device
    count, total, squares = 0, 0.0, 0.0
    for position in range(0, items, batch):
        latents = vae.encode(stream.batch(position, min(batch, items - position)).to(device)).mode.double()
        count += latents.numel()
        total += latents.sum().item()
        squares += latents.square().sum().item()
    mean = total / count
    deviation = math.sqrt(max(0.0, squares / count - mean**2))
    if not deviation:
        return None
    return LatentFrame((float(f"{mean:.{DIGITS}g}"),), (float(f"{1 / deviation:.{DIGITS}g}"),))

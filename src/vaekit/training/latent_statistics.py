"""Measure the normalization of a trained VAE: latents get mean 0 and standard deviation 1 over the data.

This is where SD1's 0.18215 comes from: one over the standard deviation of its raw latents (Rombach et al. 2022, arXiv
2112.10752, appendix G), there over one batch, here over the requested number of items.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from vaekit.errors import TrainingStopped, counted
from vaekit.normalization import LatentNormalization
from vaekit.training.data import Stream
from vaekit.vae import VAE

DIGITS = 5
"""Significant digits of shift and scale."""


def measure_normalizations(
    models: Sequence[VAE],
    stream: Stream[Tensor],
    items: int,
    batch: int,
    say: Callable[[str], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
    measuring: Callable[[int, int], None] = lambda *_: None,
) -> None:
    """Set the normalization of VAEs from the statistics of `items` items.

    Args:
        models: changed in place.
        stream: the data.
        items: the number of items for each VAE.
        batch: the batch size.
        say: called with a message at the start.
        stop: called after every batch; True stops.
        measuring: called with the number of measured items and the total.

    Raises:
        TrainingStopped: `stop` returned True.
    """
    times = "" if len(models) == 1 else f", for each of {len(models)} averages of the weights"
    say(f"Measuring the latents of {counted(items, 'item')} for the normalization{times}.")

    def after(before: int, done: int) -> None:
        measuring(before + done, items * len(models))
        if stop():
            raise TrainingStopped(
                "Stopped while measuring the normalization.",
                "Training is complete, and the state is saved.",
                "The same command repeats the measurement and writes the result.",
            )

    for i, model in enumerate(models):
        model.normalization = measured_normalization(model, stream, items, batch, partial(after, i * items))


@torch.no_grad()
def measured_normalization(
    vae: VAE, stream: Stream[Tensor], items: int, batch: int, after: Callable[[int], None] = lambda _: None
) -> LatentNormalization | None:
    """One shift and one scale for all channels, from the posterior modes of `items` items; None if the latents are
    constant.

    Args:
        vae: in evaluation mode.
        stream: the data.
        items: the number of items.
        batch: the batch size.
        after: called after every batch with the number of items so far.
    """
    device = next(vae.parameters()).device
    count, total, squares = 0, 0.0, 0.0
    for position in range(0, items, batch):
        size = min(batch, items - position)
        latents = vae.encode(stream.batch(position, size).to(device)).mode.double()
        count += latents.numel()
        total += latents.sum().item()
        squares += latents.square().sum().item()
        after(position + size)
    mean = total / count
    standard_deviation = math.sqrt(max(0.0, squares / count - mean**2))
    if not standard_deviation:
        return None
    return LatentNormalization((float(f"{mean:.{DIGITS}g}"),), (float(f"{1 / standard_deviation:.{DIGITS}g}"),))

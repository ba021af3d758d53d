"""What is seen of a model under way: its losses on held-out items, and how its latents are."""

import torch
from torch import Generator, Tensor

from vaekit.distributions.base import map_tensors
from vaekit.training.health import vitals
from vaekit.training.objectives import Objective
from vaekit.vae import VAE


@torch.no_grad()
def look(
    vae: VAE, x: Tensor, objective: Objective, samples: int, size: int, generator: Generator
) -> dict[str, float | list[float]]:
    """The parts of the objective, each a mean over the items, and the vitals of the latents of all of them.

    Args:
        vae: in evaluation mode.
        x: the items, (b, ...).
        objective: what is minimised.
        samples: seen so far.
        size: items that go through at once, as many as in training: all of them may be more than a device can hold.
        generator: the source of all that is random.
    """
    totals: dict[str, float] = {}
    counted = 0
    posteriors = []
    for items in x.split(size):
        if len(items) < objective.least:  # a rest that some term can say nothing of
            posteriors.append(vae.encode(items))
            continue
        losses = objective(vae, items, samples, generator)
        posteriors.append(losses.seen.posterior)
        counted += len(items)
        for name, part in losses.parts.items():
            totals[name] = totals.get(name, 0.0) + len(items) * part.item()
    return {name: total / counted for name, total in totals.items()} | vitals(map_tensors(torch.cat, *posteriors))

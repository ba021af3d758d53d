"""Whether a training goes well, in numbers and in words: what is wrong, and what to do.

The names of what can go wrong are those of the field: posterior collapse (Bowman et al. 2016, arXiv 1511.06349), dead
codes, an exploding generator. Every alarm is raised once.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

import torch
from torch import Generator, Tensor

from vaekit.distributions import DiagonalGaussian, Posterior
from vaekit.distributions.base import map_tensors
from vaekit.metrics.latent.latent_statistics import kl_per_channel
from vaekit.training.objectives import Objective
from vaekit.vae import VAE

ACTIVE = 0.01
"""A unit is active if its posterior mean varies by more than this over the data (Burda et al. 2016, arXiv 1509.00519,
section 5)."""


MOST_UNITS = 64
"""KL is told for each unit up to so many."""


COLLAPSED = 0.1
"""Nats: a posterior that says less about an item says nothing."""


FEW_CODES = 0.2


EXPLODED = 20.0
"""Times the usual gradient norm."""


WON = 0.05
"""A hinge loss of a discriminator that is never wrong; 2 is guessing."""


Numbers = Mapping[str, float | list[float]]


def latent_health(posterior: Posterior) -> dict[str, float | list[float]]:
    """What the posterior of some items tells of the latent space: how many units are active, how many nats each tells.
    Of codes the log has `usage` and `perplexity`."""
    if isinstance(posterior, DiagonalGaussian):
        by_unit = posterior.mean.detach().transpose(0, 1).flatten(1)
        told: dict[str, float | list[float]] = {}
        if by_unit.shape[1] > 1:  # of one item nothing varies
            told["active"] = float((by_unit.var(dim=1, correction=0) > ACTIVE).sum())
        if len(by_unit) <= MOST_UNITS:
            told["kl_by_unit"] = kl_per_channel(posterior).mean(dim=0).tolist()
        return told
    return {}


@dataclass(eq=False)
class HealthMonitor:
    """What was noticed so far."""

    said: set[str] = field(default_factory=set)
    gradients: deque[float] = field(default_factory=lambda: deque(maxlen=50))

    def hear(self, numbers: Numbers, held_out: bool, warmed_up: bool) -> list[str]:
        """Warnings about the latest values.

        Args:
            numbers: the values of a log line.
            held_out: whether they are from held-out items.
            warmed_up: whether all weights have their final values.
        """
        found = self._of_latents(numbers, warmed_up) if held_out else self._of_steps(numbers, warmed_up)
        new = {name: words for name, words in found.items() if name not in self.said}
        self.said |= new.keys()
        return list(new.values())

    def _of_latents(self, numbers: Numbers, warmed_up: bool) -> dict[str, str]:
        found: dict[str, str] = {}
        active, by_unit = numbers.get("active"), numbers.get("kl_by_unit")
        # With a capacity, the part `kl` of the loss is not the KL: use that of the units if available.
        nats = sum(by_unit) if isinstance(by_unit, list) else numbers.get("kl") if active is None else None
        silent = isinstance(nats, float) and nats < COLLAPSED
        if warmed_up and (active == 0 or silent):
            found["collapse"] = (
                "Posterior collapse: the latents carry no information about the data"
                f"{f' (KL {nats:.3f} nats)' if isinstance(nats, float) else ''}. Raise the KL weight gradually from 0 "
                "(weight = [[0, 0], [100000, 1]]), set free_nats, or lower it."
            )
        return found

    def _of_steps(self, numbers: Numbers, warmed_up: bool) -> dict[str, str]:
        found: dict[str, str] = {}
        if numbers.get("passed_over"):
            found["passed over"] = (
                "A step was skipped because of a non-finite loss or gradient. Occasional skips are harmless; if "
                "they become frequent, lower the learning rate, or the weight of the large term."
            )
        gradient, opponent, usage = (numbers.get(name) for name in ("gradient", "discriminator", "usage"))
        if warmed_up and isinstance(usage, float) and usage < FEW_CODES:
            found["codes"] = (
                f"Dead codes: only {usage:.0%} were used recently. Revive unused ones (revive_after in [codes]), use "
                "fewer, or use FSQ, which has no codebook to collapse."
            )
        if isinstance(gradient, float):
            usual = median(self.gradients) if len(self.gradients) >= 5 else math.inf
            if gradient > EXPLODED * usual:
                found["gradient"] = (
                    f"Exploding gradient: its norm is {gradient:.3g}, usually {usual:.3g}. Lower the learning rate or "
                    "gradient_clip; in an adversarial run, the weight of the adversarial term."
                )
            self.gradients.append(gradient)
        if isinstance(opponent, float) and opponent < WON:
            found["discriminator"] = (
                f"The discriminator is always right (loss {opponent:.3f}): its gradient only causes "
                "artifacts. Lower its learning rate, add R1 or LeCam, or use a longer ramp."
            )
        return found


@torch.no_grad()
def validate(
    vae: VAE, x: Tensor, objective: Objective, samples: int, size: int, generator: Generator
) -> dict[str, float | list[float]]:
    """The parts of the objective, each a mean over the items, and the vitals of the latents of all of them.

    Args:
        vae: in evaluation mode.
        x: the items, (b, ...).
        objective: what is minimized.
        samples: seen so far.
        size: items that go through at once, as many as in training: all of them may be more than a device can hold.
        generator: the source of all that is random.
    """
    totals: dict[str, float] = {}
    counted = 0
    posteriors = []
    for items in x.split(size):
        if len(items) < objective.least:  # a remainder that is too small for some term
            posteriors.append(vae.encode(items))
            continue
        losses = objective(vae, items, samples, generator)
        posteriors.append(losses.seen.posterior)
        counted += len(items)
        for name, part in losses.parts.items():
            totals[name] = totals.get(name, 0.0) + len(items) * part.item()
    return {name: total / counted for name, total in totals.items()} | latent_health(
        map_tensors(torch.cat, *posteriors)
    )

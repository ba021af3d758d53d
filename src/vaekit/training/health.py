"""Checks whether training goes well: posterior collapse (Bowman et al. 2016, arXiv 1511.06349), dead codes, exploding
gradients, a discriminator that always wins. Every warning is given once, with a remedy.
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
from vaekit.metrics.latent.information import active_units
from vaekit.metrics.latent.latent_statistics import kl_per_channel
from vaekit.training.objectives import Objective
from vaekit.vae import VAE

MAX_UNITS = 64
"""The maximum number of units whose KL is logged separately."""
COLLAPSED = 0.1
"""Nats of KL per item below which a posterior counts as collapsed."""
FEW_CODES = 0.2
"""The share of used codes below which the others count as dead."""
EXPLODED = 20.0
"""A gradient norm counts as exploding from this multiple of the median on."""
WON = 0.05
"""A discriminator loss below this is one that is nearly always right; guessing is 1 for hinge."""
Numbers = Mapping[str, float | list[float]]


def latent_health(posterior: Posterior) -> dict[str, float | list[float]]:
    """The number of active units and the KL of each unit in nats, from the posterior of some items; empty for other
    posteriors than Gaussian ones. For codes, the log has `usage` and `perplexity`."""
    if isinstance(posterior, DiagonalGaussian):
        by_unit = posterior.mean.detach().transpose(0, 1).flatten(1)
        health: dict[str, float | list[float]] = {}
        if by_unit.shape[1] > 1:  # the variance of a single value is 0
            health["active"] = float(active_units(by_unit.float().var(dim=1, correction=0)))
        if len(by_unit) <= MAX_UNITS:
            health["kl_by_unit"] = kl_per_channel(posterior).mean(dim=0).tolist()
        return health
    return {}


@dataclass(eq=False)
class HealthMonitor:
    """Warns of problems in the logged values of a run."""

    given: set[str] = field(default_factory=set)
    """The names of warnings that were given."""
    gradients: deque[float] = field(default_factory=lambda: deque(maxlen=50))
    """The last gradient norms."""

    def check(self, numbers: Numbers, held_out: bool, warmed_up: bool) -> list[str]:
        """Warnings about the latest values.

        Args:
            numbers: the values of a log line.
            held_out: whether they are from held-out items.
            warmed_up: whether all weights have their final values.
        """
        warnings = self._latent_warnings(numbers, warmed_up) if held_out else self._step_warnings(numbers, warmed_up)
        new = {name: text for name, text in warnings.items() if name not in self.given}
        self.given |= new.keys()
        return list(new.values())

    def _latent_warnings(self, numbers: Numbers, warmed_up: bool) -> dict[str, str]:
        warnings: dict[str, str] = {}
        active, by_unit = numbers.get("active"), numbers.get("kl_by_unit")
        # With a capacity, the term `kl` is not the KL: prefer the KL of the units if available.
        nats = sum(by_unit) if isinstance(by_unit, list) else numbers.get("kl") if active is None else None
        uninformative = isinstance(nats, float) and nats < COLLAPSED
        if warmed_up and (active == 0 or uninformative):
            warnings["collapse"] = (
                "Posterior collapse: the latents carry no information about the data"
                f"{f' (KL {nats:.3f} nats)' if isinstance(nats, float) else ''}. Raise the KL weight gradually from 0 "
                "(weight = [[0, 0], [100000, 1]]), set free_nats, or lower it."
            )
        return warnings

    def _step_warnings(self, numbers: Numbers, warmed_up: bool) -> dict[str, str]:
        warnings: dict[str, str] = {}
        if numbers.get("passed_over"):
            warnings["passed over"] = (
                "A step was skipped because of a non-finite loss or gradient. Occasional skips are harmless; if "
                "they become frequent, lower the learning rate, or the weight of the large term."
            )
        gradient, discriminator, usage = (numbers.get(name) for name in ("gradient", "discriminator", "usage"))
        if warmed_up and isinstance(usage, float) and usage < FEW_CODES:
            warnings["codes"] = (
                f"Dead codes: only {usage:.0%} were used recently. Revive unused ones (revive_after in [codes]), use "
                "fewer, or use FSQ, which has no codebook to collapse."
            )
        if isinstance(gradient, float):
            usual = median(self.gradients) if len(self.gradients) >= 5 else math.inf
            if gradient > EXPLODED * usual:
                warnings["gradient"] = (
                    f"Exploding gradient: its norm is {gradient:.3g}, usually {usual:.3g}. Lower the learning rate or "
                    "gradient_clip; in an adversarial run, the weight of the adversarial term."
                )
            self.gradients.append(gradient)
        if isinstance(discriminator, float) and discriminator < WON:
            warnings["discriminator"] = (
                f"The discriminator is always right (loss {discriminator:.3f}): its gradient only causes "
                "artifacts. Lower its learning rate, add R1 or LeCam, or use a longer ramp."
            )
        return warnings


@torch.no_grad()
def validate(
    vae: VAE, x: Tensor, objective: Objective, samples: int, size: int, generator: Generator
) -> dict[str, float | list[float]]:
    """The mean of each term of the objective over items, and the health of their latents.

    Args:
        vae: in evaluation mode.
        x: the items, (b, ...).
        objective: the training objective; of items that are measured, none is trimmed.
        samples: the number of samples so far.
        size: the batch size, as in training: a device may not hold all items at once.
        generator: the source of all randomness.
    """
    objective = objective.untrimmed
    totals: dict[str, float] = {}
    counted = 0
    posteriors = []
    for items in x.split(size):
        if len(items) < objective.min_items:  # a remainder that is too small for some term
            posteriors.append(vae.encode(items))
            continue
        losses = objective(vae, items, samples, generator)
        posteriors.append(losses.forward.posterior)
        counted += len(items)
        for name, part in losses.parts.items():
            totals[name] = totals.get(name, 0.0) + len(items) * part.item()
    return {name: total / counted for name, total in totals.items()} | latent_health(
        map_tensors(torch.cat, *posteriors)
    )

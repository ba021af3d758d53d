"""Flow matching as the loss of a run: the squared error of velocities at random times."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from vaekit.diffusion.batches import LatentBatch
from vaekit.diffusion.flow import Times, on_path
from vaekit.diffusion.model import DiffusionModel

FLOW = "flow"
"""The name of the loss in the log."""


@dataclass(frozen=True)
class FlowLosses:
    """The loss of a batch."""

    total: Tensor
    parts: Mapping[str, Tensor]


@dataclass(frozen=True)
class FlowMatching:
    """The loss: E |v(x_t, t, c) - (noise - x)|^2 per value (arXiv 2209.03003, equation 1)."""

    times: Times
    drop: float = 0.1
    """The share of items whose condition is replaced by none (arXiv 2207.12598, section 3.2)."""
    min_items: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.drop <= 1:
            raise ValueError(f"drop is {self.drop:g}; it is a share, from 0 to 1")

    def has_final_weights(self, samples: int) -> bool:
        """Always: it does not change."""
        del samples
        return True

    def __call__(self, model: DiffusionModel, x: LatentBatch, samples: int, generator: Generator, /) -> FlowLosses:
        """The loss of a batch. Random numbers are drawn on the CPU: the same on every device."""
        del samples
        latents = model.normalize(x.sample(generator))
        t = self.times.sample(len(x), generator)
        noise = torch.randn(latents.shape, generator=generator)
        dropped = torch.rand(len(x), generator=generator) < self.drop
        t, noise, dropped = (each.to(latents.device) for each in (t, noise, dropped))
        condition = without(x.condition, dropped, model.config.condition.null())
        velocity = model(on_path(latents, noise, t), t, condition)
        loss = (velocity.float() - (noise - latents)).square().mean()
        return FlowLosses(loss, {FLOW: loss.detach()})


def without(condition: Tensor | None, dropped: Tensor, null: Tensor | None) -> Tensor | None:
    """Conditions (b, ...), with the null condition (...) where `dropped` (b,) is true."""
    if condition is None or null is None:
        return None
    return torch.where(dropped.view(-1, *[1] * (condition.dim() - 1)), null.to(condition), condition)


@torch.no_grad()
def validate_flow(
    model: DiffusionModel, x: LatentBatch, loss: FlowMatching, samples: int, size: int, generator: Generator
) -> dict[str, float | list[float]]:
    """The mean loss over held-out items; see `vaekit.training.health.validate`."""
    values = [loss(model, part, samples, generator).total.item() * len(part) for part in x.split(size)]
    return {FLOW: sum(values) / len(x)}

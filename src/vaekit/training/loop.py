"""The training loop: one function, read from top to bottom. Progress is counted in samples, never in epochs."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from vaekit.training.ema import EMA
from vaekit.training.objectives import Losses
from vaekit.vae import VAE

Objective = Callable[[VAE, Tensor, Generator], Losses]


@dataclass(frozen=True)
class Schedule:
    """How long, how fast."""

    samples: int
    """Items shown in all."""
    batch_size: int
    learning_rate: float
    """The peak; reached after `warmup_samples`, then a cosine down to zero."""
    warmup_samples: int
    ema_decay: float
    gradient_clip: float
    """Largest norm of the whole gradient."""
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0

    def rate_at(self, samples: int) -> float:
        """The learning rate after `samples` items."""
        warm = min(1.0, (samples + self.batch_size) / max(1, self.warmup_samples))
        return self.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, samples / self.samples)))


@dataclass(frozen=True)
class Progress:
    """What the loop says of itself after a step."""

    samples: int
    seconds: float
    learning_rate: float
    losses: dict[str, float]


def train(
    vae: VAE,
    batches: Iterator[Tensor],
    objective: Objective,
    schedule: Schedule,
    generator: Generator,
    autocast: torch.dtype | None = None,
    report: Callable[[Progress, EMA], None] | None = None,
) -> VAE:
    """Train `vae` in place and return its moving average.

    Args:
        vae: in fp32; the master weights stay so.
        batches: yields data (batch_size, ...) without end, on the VAE's device.
        objective: called with the VAE, a batch and the generator.
        schedule: lengths and rates.
        generator: the source of the posterior's noise.
        autocast: run the networks in this dtype (bfloat16 is twice as fast where the processor has it); the
            likelihood and the divergence stay in fp32.
        report: called after every step.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    device = next(vae.parameters()).device
    optimiser = torch.optim.AdamW(
        vae.parameters(),
        lr=schedule.learning_rate,
        betas=schedule.betas,
        weight_decay=schedule.weight_decay,
        fused=True,
    )
    ema = EMA(vae, schedule.ema_decay)
    vae.train()
    started = time.monotonic()
    for samples in range(0, schedule.samples, schedule.batch_size):
        rate = schedule.rate_at(samples)
        for group in optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
            losses = objective(vae, next(batches), generator)
        if not torch.isfinite(losses.total):
            raise FloatingPointError(f"the loss became {losses.total.item()} after {samples} samples: {losses.parts}")
        optimiser.zero_grad(set_to_none=True)
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), schedule.gradient_clip)
        optimiser.step()
        ema.update(vae)
        parts = {name: part.item() for name, part in losses.parts.items()}
        if report is not None:
            report(Progress(samples + schedule.batch_size, time.monotonic() - started, rate, parts), ema)
    return ema.model

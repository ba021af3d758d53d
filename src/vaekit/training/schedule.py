"""The schedule of a training: its length, batches, rates and precision."""

import math
from dataclasses import dataclass

import torch

from vaekit.errors import BadRecipe
from vaekit.training.processes import ProcessGroup

LARGEST_BATCH = 2**24
"""Items of a batch, whose indices alone take 128 MiB."""
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16}
"""Autocast dtypes by name. No fp16: small gradients and adversarial terms make it unstable."""


@dataclass(frozen=True)
class Schedule:
    """The training schedule: samples, batch sizes, learning rate, averages and precision."""

    samples: int
    """The total number of samples."""
    batch_size: int
    """The number of items per step, over all processes."""
    learning_rate: float
    """The peak; reached after `warmup_samples`, then a cosine down to `final_rate` of it."""
    warmup_samples: int = 0
    final_rate: float = 0.0
    micro_batch: int | None = None
    """Items per forward pass; gradients are accumulated over the micro-batches of a batch. Random numbers depend on the
    position of a micro-batch, not on the process that computes it."""
    gradient_clip: float = math.inf
    """The maximum norm of the gradient of all parameters together."""
    averages: tuple[float, ...] = (0.999,)
    """Decays of the moving averages of the weights; the first average is the result."""
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    precision: str = "fp32"
    """The precision of the networks: "bf16" is faster on hardware that supports it. Weights, likelihoods and
    divergences stay in fp32."""
    recompute: bool = False
    """Whether activations within blocks are recomputed in the backward pass: less memory, up to a third more time,
    bit-identical results."""
    encoder_steps: int = 1
    """Steps of the encoder for each step of the whole VAE, during the first `encoder_samples`: an encoder that lags
    behind its decoder is a cause of posterior collapse (He et al. 2019, arXiv 1901.05534, section 4)."""
    encoder_samples: int = 0
    """The number of samples at the beginning for which `encoder_steps` applies."""
    compiled: bool = False
    """Whether encoder and decoder are compiled by torch: takes a minute at the start. Results are equal up to rounding
    only. Incompatible with an adaptive adversarial weight."""

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"unknown precision {self.precision!r}; expected one of {', '.join(PRECISIONS)}")
        if min(self.samples, self.batch_size, self.micro_batch or 1, self.encoder_steps) < 1:
            raise ValueError("samples, batch_size, micro_batch and encoder_steps must be at least 1")
        if self.batch_size > LARGEST_BATCH:
            raise ValueError(f"batch_size is {self.batch_size:,}, more than {LARGEST_BATCH:,}")
        lengths = self.warmup_samples, self.encoder_samples
        if min(*lengths, self.learning_rate, self.final_rate, self.gradient_clip, self.weight_decay) < 0:
            raise ValueError("rates, numbers of samples, gradient_clip and weight_decay must be at least 0")
        if self.recompute and self.compiled:
            raise ValueError("recompute and compiled cannot be combined")
        if not all(0 <= each < 1 for each in (*self.betas, *self.averages)):
            raise ValueError("betas and averages must be in [0, 1)")

    def rate_at(self, samples: int) -> float:
        """The learning rate after `samples` items."""
        warm = min(1.0, (samples + self.batch_size) / max(1, self.warmup_samples))
        fallen = 0.5 * (1 + math.cos(math.pi * min(1.0, samples / self.samples)))
        return self.learning_rate * warm * (self.final_rate + (1 - self.final_rate) * fallen)

    def is_for_encoder(self, samples: int) -> bool:
        """Whether the step after `samples` items changes the encoder only."""
        step = samples // self.batch_size
        return samples < self.encoder_samples and (step + 1) % self.encoder_steps != 0

    def micro_batches(self, processes: ProcessGroup) -> int:
        """The number of micro-batches per step and process.

        Raises:
            BadRecipe: the batch size is not divisible.
        """
        size = self.micro_batch or self.batch_size // processes.count
        if not size or self.batch_size % (size * processes.count):
            raise BadRecipe(
                f"A batch of {self.batch_size} is not divisible into batches of {size} for {processes.count} "
                "processes.",
                "Expected a multiple.",
                "Set schedule.batch_size or schedule.micro_batch.",
            )
        return self.batch_size // (size * processes.count)

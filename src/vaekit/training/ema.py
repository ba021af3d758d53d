"""Exponential moving averages of the weights: what is kept after training."""

import copy

import torch
from torch import Tensor

from vaekit.vae import VAE


class EMA:
    """A second copy of a model whose weights trail behind the trained ones.

    The decay grows with the steps, min(decay, (1 + t) / (10 + t)), so that the first, random weights are soon gone.
    Several copies may trail at different distances (Karras et al. 2024, arXiv 2312.02696, section 3): which is best is
    seen afterwards.
    """

    def __init__(self, model: VAE, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: VAE, steps: int) -> None:
        """Come nearer to the model, after so many steps before this one."""
        decay = min(self.decay, (1 + steps) / (10 + steps))
        averaged: list[Tensor] = list(self.model.parameters())
        current: list[Tensor] = list(model.parameters())
        torch._foreach_lerp_(averaged, current, 1 - decay)
        for kept, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            kept.copy_(buffer)  # statistics of the data, averaged already where they need to be

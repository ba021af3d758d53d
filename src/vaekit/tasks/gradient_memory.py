"""The memory for gradients through a decoder, measured on a small latent before a large one is decoded."""

from math import prod

import torch
from torch import Tensor

from vaekit.errors import TooLittleMemory
from vaekit.runtime.engine import Engine
from vaekit.runtime.item_sizes import repeat_edge
from vaekit.runtime.memory import SHARE_OF_FREE, format_bytes, free_memory
from vaekit.vae import VAE

SIDE = 8
"""Positions of the small latent along each axis."""
BACKWARD = 1.5
"""The peak of the backward pass, relative to the activations that are kept for it."""


def items_at_once(engine: Engine, vae: VAE, z: Tensor, most: int) -> int:
    """The number of items whose decoder activations fit into memory.

    Args:
        engine: with the plan, which may limit the memory.
        vae: that gradients go through.
        z: raw latents (b, z, ...), of which all have one size.
        most: the maximum.

    Raises:
        TooLittleMemory: those of one item do not fit.
    """
    any_size = engine.geometry.size is None
    small = z[(slice(1), slice(None), *[slice(SIDE if any_size else None)] * (z.dim() - 2))]
    small = repeat_edge(small, tuple(max(engine.geometry.least_positions, each) for each in small.shape[2:]))
    needed = int(BACKWARD * kept_bytes(vae, small) * prod(z.shape[2:]) / prod(small.shape[2:]))
    device = engine.plan.torch_device
    available = engine.plan.budget or int(SHARE_OF_FREE * free_memory(device))
    if needed > available:
        raise TooLittleMemory(
            f"Gradients through the decoder take about {format_bytes(needed)} of memory for one item.",
            f"Expected at most {format_bytes(available)}.",
            "Use --method cma-es, which needs no gradients, or smaller items.",
            least=needed,
        )
    return max(1, min(most, available // max(1, needed)))


def kept_bytes(vae: VAE, z: Tensor) -> int:
    """The bytes that decoding latents keeps for the backward pass, without weights."""
    weights = {each.untyped_storage().data_ptr() for each in vae.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    device = next(vae.parameters()).device
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = vae.likelihood(z.detach().to(device).requires_grad_()).mode  # alive, so that no address occurs twice
    return sum(kept.values()) + result.nbytes

"""Activation checkpointing: recompute activations in the backward pass to save memory, for up to a third more time.

Chen et al. 2016, "Training deep nets with sublinear memory cost" (arXiv 1604.06174). Only the inputs of blocks are
stored; results are bit-identical.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from vaekit.vae import VAE

LAYERS = 2
"""The minimum number of layers with weights in a block."""


@contextmanager
def recompute_activations(model: nn.Module) -> Iterator[None]:
    """In this context, the blocks of the nets of a model store only their inputs for the backward pass. Earlier copies
    of the model are unaffected."""
    chosen = [block for net in nets_of(model) for block in blocks(net)]
    for block in chosen:
        block.forward = partial(recomputed, block.forward)
    try:
        yield
    finally:
        for block in chosen:
            del block.forward  # restores the method of the class


def nets_of(model: nn.Module) -> list[nn.Module]:
    """The nets that a model consists of: of a VAE, encoder and decoder."""
    if isinstance(model, VAE):
        return [net for net in (model.encoder, model.decoder) if net is not None]
    return list(model.children())


def recomputed(forward: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
    """Call `forward`, and recompute it in the backward pass if gradients are enabled."""
    if not torch.is_grad_enabled():
        return forward(*inputs, **options)
    return checkpoint(forward, *inputs, use_reentrant=False, **options)


def blocks(net: nn.Module) -> list[nn.Module]:
    """The outermost blocks inside a net; the net itself if it is a block without inner blocks."""
    inner = [block for child in net.children() for block in outermost(child)]
    return inner or ([net] if is_block(net) else [])


def outermost(module: nn.Module) -> list[nn.Module]:
    """The module if it is a block, or the outermost blocks inside."""
    return [module] if is_block(module) else [block for child in module.children() for block in outermost(child)]


def is_block(module: nn.Module) -> bool:
    """Whether a module has several direct children with weights, and no batch norms, whose statistics would be updated
    twice."""
    layers = sum(1 for child in module.children() if any(True for _ in child.parameters(recurse=False)))
    return layers >= LAYERS and not any(isinstance(each, _BatchNorm) for each in module.modules())

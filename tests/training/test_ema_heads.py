"""Heads that learn without a gradient are found by what they can do."""

import torch
from torch import nn

from vaekit.distributions import Normal, Point
from vaekit.nets.codebooks import CodebookLearning
from vaekit.nets.quantizers import ResidualQuantizer, SignQuantizer
from vaekit.nets.vector_quantizer import VectorQuantizer
from vaekit.training.ema_heads import UpdatesWithoutGradient, heads_without_gradient
from vaekit.vae import VAE


def test_codebooks_are_found_by_name_however_deep() -> None:
    residual = ResidualQuantizer(4, 3, 2)
    vae = VAE(nn.Linear(3, 3), residual, nn.Linear(3, 3), Normal)
    found = heads_without_gradient(vae)
    assert list(found.values()) == residual.quantizers
    assert all(name.startswith("to_posterior.") for name in found)


def test_other_parts_are_not() -> None:
    assert heads_without_gradient(VAE(nn.Linear(3, 3), Point, nn.BatchNorm1d(3), Normal)) == {}
    assert isinstance(SignQuantizer(3), UpdatesWithoutGradient), "it counts how its codes are used"


def test_what_was_collected_is_used_once_and_restored() -> None:
    torch.manual_seed(0)
    head, other = VectorQuantizer(4, 3), VectorQuantizer(4, 3)
    for each in (head, other):
        each.learn(CodebookLearning(first="random", decay=0.5))
        each.train()
    assert isinstance(head, UpdatesWithoutGradient)
    before = head.codebook.clone()
    head(torch.randn(20, 3))
    head.forget()
    head.adapt(lambda _: None, torch.Generator())
    assert torch.equal(head.codebook, before)
    head(torch.randn(20, 3))
    head.adapt(lambda _: None, torch.Generator())
    assert not torch.equal(head.codebook, before)
    kept = {name: tensor.clone() for name, tensor in head.progress().items()}
    assert kept
    other.restore(kept)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in other.progress().items())

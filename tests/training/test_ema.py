"""The moving average: its formula, and that it is a model of its own."""

import pytest
import torch
from torch import Tensor, nn

from vaekit.distributions import Normal, Point
from vaekit.training.ema import EMA
from vaekit.vae import VAE


def vae_of(decoder: nn.Module) -> VAE:
    return VAE(None, Point, decoder, Normal)


def one_weight(value: float) -> VAE:
    model = vae_of(nn.Linear(1, 1, bias=False))
    nn.init.constant_(weight(model), value)
    return model


def weight(model: VAE) -> Tensor:
    return next(model.parameters())


@pytest.mark.parametrize("decay", [0.05, 0.5, 0.999])
def test_follows_the_formula(decay: float) -> None:
    model = one_weight(1.0)
    ema, expected = EMA(model, decay), 1.0
    for t, value in enumerate([3.0, -2.0, 5.0, 0.5, 7.0]):
        nn.init.constant_(weight(model), value)
        ema.update(model)
        d = min(decay, (1 + t) / (10 + t))
        expected = d * expected + (1 - d) * value
        assert weight(ema.model).item() == pytest.approx(expected, rel=1e-5)
    assert ema.steps == 5


def test_forgets_the_first_weights() -> None:
    ema = EMA(one_weight(1e6), 0.999)
    for _ in range(50):
        ema.update(one_weight(1.0))
    assert weight(ema.model).item() == pytest.approx(1.0, abs=1e-3)


def test_is_a_frozen_copy_in_evaluation_mode() -> None:
    model = one_weight(1.0).train()
    ema = EMA(model, 0.9)
    nn.init.constant_(weight(model), 2.0)
    assert weight(ema.model).item() == 1.0
    assert not ema.model.training
    assert not weight(ema.model).requires_grad
    assert model.training
    assert weight(model).requires_grad
    ema.update(model)
    assert weight(model).item() == 2.0


def test_buffers_are_those_of_the_trained_model() -> None:
    model = vae_of(nn.BatchNorm1d(2))
    ema = EMA(model, 0.9)
    model.decode(torch.randn(8, 2, generator=torch.Generator().manual_seed(0)) + 3)
    ema.update(model)
    for ours, theirs in zip(ema.model.buffers(), model.buffers(), strict=True):
        assert torch.equal(ours, theirs)
    assert next(model.buffers()).abs().max() > 0.1

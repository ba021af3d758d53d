"""Layers of autoencoders of waveforms: weight normalization, activations, lengths."""

import pytest
import torch
from random_weights import shaken, waveform
from torch import nn
from torch.nn.utils import parametrizations

from vaekit.families.waveform import (
    DecoderLevel,
    EncoderLevel,
    LogSnake,
    NormedConv1d,
    NormedConvTranspose1d,
    Snake,
    WaveformConfig,
    audio_format,
    layers,
)


@torch.no_grad()
@pytest.mark.parametrize("transposed", [False, True])
def test_norms_and_directions_are_those_of_torch(transposed: bool) -> None:
    torch.manual_seed(0)
    plain = nn.ConvTranspose1d(4, 6, 8, 4, 2) if transposed else nn.Conv1d(4, 6, 8, 4, 2)
    ours = NormedConvTranspose1d(4, 6, 8, 4, 2) if transposed else NormedConv1d(4, 6, 8, 4, 2)
    theirs = parametrizations.weight_norm(plain)
    names = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
    shaken(theirs, 0.3)
    ours.load_state_dict({key: theirs.state_dict()[names.get(key, key)] for key in ours.state_dict()})
    x = waveform(4, 16)
    torch.testing.assert_close(ours(x), theirs(x))


@torch.no_grad()
def test_a_new_convolution_is_the_plain_one() -> None:
    torch.manual_seed(0)
    plain = nn.Conv1d(3, 5, 7, padding=3)
    torch.manual_seed(0)
    normed = NormedConv1d(3, 5, 7, padding=3)
    x = waveform(3, 20)
    torch.testing.assert_close(normed(x), plain(x))
    assert normed.state_dict().keys() == {"weight_g", "weight_v", "bias"}
    assert NormedConv1d(3, 5, 7, bias=False).state_dict().keys() == {"weight_g", "weight_v"}


@torch.no_grad()
def test_snakes() -> None:
    x, alpha, beta = waveform(2, 9), torch.tensor([0.5, 2.0]).view(1, 2, 1), torch.tensor([3.0, 0.25]).view(1, 2, 1)
    plain, log = Snake(2), LogSnake(2)
    plain.alpha.copy_(alpha)
    log.alpha.copy_(alpha.log())
    log.beta.copy_(beta.log())
    torch.testing.assert_close(plain(x), x + (1 - torch.cos(2 * alpha * x)) / (2 * alpha))
    torch.testing.assert_close(log(x), x + (1 - torch.cos(2 * alpha * x)) / (2 * beta))


@torch.no_grad()
@pytest.mark.parametrize("stride", [2, 3, 5, 8])
def test_levels_change_the_length_by_their_stride(stride: int) -> None:
    make = layers(Snake, weight_norm=True)
    x = waveform(2, 4)
    up = DecoderLevel(2, 3, stride, make)(x)
    assert up.shape == (2, 3, 4 * stride)
    assert EncoderLevel(3, 2, stride, make)(up).shape == x.shape
    shorter = DecoderLevel(2, 3, stride, layers(Snake, weight_norm=False, complete=False))
    assert shorter(x).shape == (2, 3, 4 * stride - stride % 2)


def test_the_format_of_a_config() -> None:
    config = WaveformConfig(2, 4, (4, 4), (4, 4), (5,), True, 16_000)
    assert (audio_format(config).sample_rate, audio_format(config).channels) == (16_000, 2)
    assert audio_format(WaveformConfig(1, 4, (4, 4), (4, 4), (5,), True, 0)).sample_rate == 44_100
    assert (config.hop, config.geometry.latent_size((11,))) == (5, (3,))


def test_a_residual_unit_reaches_its_dilations() -> None:
    """Three units of kernel 7 with dilations 1, 3 and 9 see 39 samples to each side, the strided convolution one."""
    make = layers(Snake, weight_norm=False)
    level = EncoderLevel(1, 1, 2, make)
    x = torch.zeros(1, 1, 200, requires_grad=True)
    (gradient,) = torch.autograd.grad(level(x)[0, 0, 50], x)
    reached = gradient[0, 0].nonzero().flatten()
    assert (reached.min().item(), reached.max().item()) == (99 - 39, 102 + 39)

"""Parity with diffusers' LongCatAudioDiTVae on random weights, and its shortcuts."""

from pathlib import Path

import pytest
import torch
from random_weights import waveform
from torch import nn
from torch.nn import functional as F

from vaekit import load
from vaekit.families.longcat.net import Averages, LongCatConfig, Repetitions


@torch.no_grad()
@pytest.mark.parametrize("positions", [1, 3])
def test_equal_to_diffusers(pair: tuple[nn.Module, Path], positions: int) -> None:
    theirs, folder = pair
    ours = load(folder)
    x = waveform(ours.geometry.channels, positions * ours.geometry.factors[0])
    expected, posterior = theirs.encode(x, sample_posterior=False).latents, ours.encode(x)
    assert expected.std() > 0.05 and posterior.mean.shape == (2, 4, positions)
    torch.testing.assert_close(ours.normalize(posterior.mean), expected, rtol=1e-5, atol=1e-5)
    scales = F.softplus(theirs.encoder(x)[:, 4:]) + 1e-4
    torch.testing.assert_close(posterior.std, scales, rtol=1e-5, atol=1e-5)
    sound = theirs.decode(expected).sample
    assert sound.std() > 0.01
    torch.testing.assert_close(ours.decode(ours.denormalize(expected)), sound, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(
    ("wide", "narrow", "stride"), [(4, 4, 2), (4, 8, 4), (4, 2, 3), (8, 2, 1), (4, 8, 2), (2, 8, 8), (6, 6, 1)]
)
def test_shortcuts_are_averages_and_repetitions(wide: int, narrow: int, stride: int) -> None:
    x = waveform(wide, 5 * stride)
    rearranged = x.unflatten(2, (5, stride)).transpose(2, 3).flatten(1, 2)
    averages = rearranged.unflatten(1, (narrow, -1)).mean(dim=2)
    torch.testing.assert_close(Averages(wide, narrow, stride)(x), averages)
    repeated = averages.repeat_interleave(wide * stride // narrow, dim=1)
    expected = repeated.unflatten(1, (wide, stride)).transpose(2, 3).flatten(2)
    torch.testing.assert_close(Repetitions(narrow, wide, stride)(averages), expected)


@pytest.mark.parametrize(
    ("widths", "strides"), [((4, 8), (3,)), ((4, 6), (2,)), ((8, 12, 8), (2, 4)), ((4, 64), (2,)), ((4, 4), (2,))]
)
def test_networks_without_equal_groups_are_refused(widths: tuple[int, ...], strides: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"even|averaged"):
        LongCatConfig(1, 4, widths, widths[::-1], strides, True, 0)

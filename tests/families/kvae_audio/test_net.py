"""Parity with diffusers' AutoencoderKLKVAEAudio on random weights."""

from pathlib import Path

import pytest
import torch
from random_weights import waveform
from torch import nn

from vaekit import load
from vaekit.families.kvae_audio.net import KVAEAudioConfig


@torch.no_grad()
@pytest.mark.parametrize("positions", [1, 4])
def test_equal_to_diffusers(pair: tuple[nn.Module, Path], positions: int) -> None:
    theirs, folder = pair
    ours = load(folder)
    x = waveform(ours.geometry.channels, positions * ours.geometry.factors[0])
    expected, posterior = theirs.encode(x).latent_dist, ours.encode(x)
    assert expected.mean.std() > 0.05 and posterior.mean.shape == (2, 4, positions)
    torch.testing.assert_close(posterior.mean, expected.mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(posterior.log_variance, expected.logvar, rtol=1e-5, atol=1e-5)
    sound = theirs.decode(expected.mean).sample
    assert sound.std() > 0.005
    torch.testing.assert_close(ours.decode(expected.mean), sound, rtol=1e-5, atol=1e-5)


def test_heads_divide_the_channels() -> None:
    with pytest.raises(ValueError, match="heads"):
        KVAEAudioConfig(1, 4, (8, 16), (12, 6), (2,), True, 0, 16, 3)

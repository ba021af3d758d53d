"""Parity with diffusers' AutoencoderKLLTX2Audio and its vocoders on random weights."""

from pathlib import Path

import pytest
import torch
from torch import nn

from vaekit import load
from vaekit.families.ltx_audio.net import Decoder, Encoder
from vaekit.nets.mel import log_mel
from vaekit.nets.resampling import resample

Pair = tuple[nn.Module, nn.Module | None, Path]


@torch.no_grad()
@pytest.mark.parametrize("positions", [2, 7])
def test_equal_to_diffusers(pair: Pair, positions: int) -> None:
    theirs, vocoder, folder = pair
    ours = load(folder)
    encoder, decoder = ours.encoder, ours.decoder
    assert isinstance(encoder, Encoder) and isinstance(decoder, Decoder)
    frames = 4 * positions - 3
    mel = torch.randn(2, 2, frames, 16, generator=torch.Generator().manual_seed(0))
    expected, posterior = theirs.encode(mel).latent_dist, ours.to_posterior(encoder.moments(mel))
    flat = [each.transpose(2, 3).flatten(1, 2) for each in (expected.mean, expected.logvar)]
    assert expected.mean.std() > 0.05
    torch.testing.assert_close(posterior.mean, flat[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(posterior.log_variance, flat[1], rtol=1e-4, atol=1e-5)
    spectrogram = theirs.decode(expected.mean).sample
    assert spectrogram.std() > 0.05
    torch.testing.assert_close(decoder.spectrogram(flat[0]).transpose(2, 3), spectrogram, rtol=1e-4, atol=1e-5)
    samples = ours.geometry.size_of((positions,))[0]
    wave = ours.decode(flat[0])
    assert wave.shape == (2, 2, samples)
    if vocoder is not None:
        sound = vocoder(spectrogram)
        assert sound.std() > 1e-3
        torch.testing.assert_close(wave, sound[..., :samples], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_waveforms_are_encoded_by_their_spectrogram(pair: Pair) -> None:
    """Every length of waveform that the geometry allows has as many frames as its latents need."""
    theirs, _, folder = pair
    ours = load(folder)
    (samples,) = ours.geometry.size_of((5,))
    x = torch.rand(1, 2, samples, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mel = log_mel(resample(x, ours.config.sample_rate, 16000), ours.config.mel)
    assert mel.shape == (1, 2, 16, 17)
    expected = theirs.encode(mel.transpose(2, 3)).latent_dist.mean.transpose(2, 3).flatten(1, 2)
    torch.testing.assert_close(ours.encode(x).mean, expected, rtol=1e-4, atol=1e-5)

"""Parity with diffusers' AutoencoderKL and transformers' SpeechT5HifiGan on random weights."""

from pathlib import Path

import torch
from torch import nn

from vaekit import load
from vaekit.families.audioldm.net import Decoder, Encoder
from vaekit.nets.mel import log_mel

Pair = tuple[nn.Module, nn.Module, Path]


@torch.no_grad()
def test_equal_to_diffusers_and_transformers(pair: Pair) -> None:
    theirs, vocoder, folder = pair
    ours = load(folder)
    encoder, decoder = ours.encoder, ours.decoder
    assert isinstance(encoder, Encoder) and isinstance(decoder, Decoder)
    mel = torch.randn(2, 1, 14, 16, generator=torch.Generator().manual_seed(0))
    expected, posterior = theirs.encode(mel).latent_dist, ours.to_posterior(encoder.moments(mel))
    flat = [each.transpose(2, 3).flatten(1, 2) for each in (expected.mean, expected.logvar)]
    torch.testing.assert_close(posterior.mean, flat[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(posterior.log_variance, flat[1], rtol=1e-4, atol=1e-5)
    spectrogram = theirs.decode(expected.mean).sample
    assert spectrogram.std() > 0.05
    torch.testing.assert_close(decoder.spectrogram(flat[0]).transpose(2, 3), spectrogram, rtol=1e-4, atol=1e-5)
    sound, wave = vocoder(spectrogram.squeeze(1)), ours.decode(flat[0]).squeeze(1)
    assert sound.std() > 1e-3
    assert wave.shape == (2, ours.geometry.size_of((7,))[0])
    torch.testing.assert_close(wave, sound[:, : wave.shape[1]], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_waveforms_are_encoded_by_their_spectrogram(pair: Pair) -> None:
    theirs, _, folder = pair
    ours = load(folder)
    (samples,) = ours.geometry.size_of((6,))
    x = torch.rand(1, 1, samples, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mel = log_mel(x, ours.config.mel)[..., :12]
    expected = theirs.encode(mel.transpose(2, 3)).latent_dist.mean.transpose(2, 3).flatten(1, 2)
    torch.testing.assert_close(ours.encode(x).mean, expected, rtol=1e-4, atol=1e-5)

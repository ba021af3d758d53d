"""Log-mel spectrograms against transformers' functions and torch.stft, and waveforms made from them."""

import numpy as np
import pytest
import torch
from transformers.audio_utils import mel_filter_bank

from vaekit.nets.mel import MelFormat, griffin_lim, log_mel, mel_filters

FORMATS = [MelFormat(16000, 1024, 160, 64, 0.0, 8000.0), MelFormat(44100, 2048, 512, 128, 40.0, 16000.0)]


@pytest.mark.parametrize("mel", FORMATS)
def test_filters_are_those_of_feature_extractors(mel: MelFormat) -> None:
    shape = mel.frequencies, mel.bins
    theirs = mel_filter_bank(*shape, mel.low, mel.high, mel.sample_rate, norm="slaney", mel_scale="slaney")
    np.testing.assert_allclose(mel_filters(mel), theirs.T, atol=1e-7)


@pytest.mark.parametrize("mel", FORMATS)
@pytest.mark.parametrize("samples", [16000, 4321])
def test_a_spectrogram_is_that_of_a_fourier_transform(mel: MelFormat, samples: int) -> None:
    x = torch.rand(2, 2, samples, generator=torch.Generator().manual_seed(0)) * 2 - 1
    window = torch.hann_window(mel.window)
    spectrum = torch.stft(x.flatten(0, 1), mel.window, mel.hop, window=window, pad_mode="reflect", return_complex=True)
    expected = (torch.from_numpy(mel_filters(mel)) @ spectrum.abs()).clamp(min=1e-5).log()
    ours = log_mel(x, mel)
    assert ours.shape == (2, 2, mel.bins, 1 + samples // mel.hop)
    torch.testing.assert_close(ours.flatten(0, 1), expected, rtol=1e-5, atol=1e-4)


def test_silence_is_the_floor() -> None:
    assert (log_mel(torch.zeros(1, 1, 2000), FORMATS[0]) == torch.tensor(1e-5).log()).all()


@pytest.mark.parametrize("mel", FORMATS)
def test_griffin_lim_returns_a_waveform_with_the_spectrogram(mel: MelFormat) -> None:
    """Chords, in every bin and frame: the error is below a tenth of that of their mean spectrogram."""
    frames = 40
    t = torch.arange(frames * mel.hop) / mel.sample_rate
    x = sum(torch.sin(2 * torch.pi * f * t * (1 + t)) / 5 for f in (220.0, 330.0, 1760.0))[None, None]
    spectrogram = log_mel(x, mel)[..., :frames]
    wave = griffin_lim(spectrogram, mel)
    assert wave.shape == (1, 1, frames * mel.hop)
    again = log_mel(wave, mel)[..., 2 : frames - 2].exp()
    wanted = spectrogram[..., 2 : frames - 2].exp()
    assert (again - wanted).norm() < 0.25 * wanted.norm()
    assert torch.equal(wave, griffin_lim(spectrogram, mel))

"""Parity with transformers' VibeVoiceAcousticTokenizerModel on random weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from random_weights import waveform
from torch import nn

from vaekit import load
from vaekit.distributions import DiagonalGaussian
from vaekit.families.vibevoice.net import VibeVoiceConfig


@torch.no_grad()
@pytest.mark.parametrize("positions", [1, 4])
def test_equal_to_transformers(pair: tuple[nn.Module, Path], positions: int) -> None:
    theirs, folder = pair
    ours = load(folder)
    x = waveform(ours.geometry.channels, positions * ours.geometry.factors[0])
    latents, posterior = theirs.encode(x, sample=False).latents, ours.encode(x)
    assert latents.std() > 0.05 and isinstance(posterior, DiagonalGaussian)
    torch.testing.assert_close(posterior.mean, latents.transpose(1, 2), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(posterior.std, torch.full_like(posterior.mean, theirs.config.vae_std))
    sound = theirs.decode(latents).audio
    assert sound.std() > 0.01
    largest = sound.abs().max()
    torch.testing.assert_close(ours.decode(posterior.mean) / largest, sound / largest, rtol=1e-5, atol=1e-5)


CONFIG = VibeVoiceConfig(1, 4, (4, 8), (4, 8), (3,), (1, 1), (1, 1), 7, 4, 0.625, 0)


@pytest.mark.parametrize("fields", [{"strides": ()}, {"encoder_depths": (1,)}, {"kernel": 0}, {"std": 0.0}])
def test_configs_of_no_network_are_refused(fields: dict[str, Any]) -> None:
    assert CONFIG.geometry.factors == (3,)
    with pytest.raises(ValueError, match=r"."):
        replace(CONFIG, **fields)

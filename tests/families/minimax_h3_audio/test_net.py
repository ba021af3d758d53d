"""Parity with diffusers' AutoencoderKLMiniMaxH3Audio on random weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from random_weights import waveform
from torch import nn

from vaekit import load
from vaekit.families.minimax_h3_audio.net import MiniMaxH3AudioConfig


@torch.no_grad()
@pytest.mark.parametrize("positions", [1, 4])
def test_equal_to_diffusers(pair: tuple[nn.Module, Path], positions: int) -> None:
    theirs, folder = pair
    ours = load(folder)
    x = waveform(1, positions * ours.geometry.factors[0])
    expected, posterior = theirs.encode(x).latent_dist, ours.encode(x)
    assert expected.mean.std() > 0.01 and posterior.mean.shape == (2, 4, positions)
    torch.testing.assert_close(posterior.mean, expected.mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(posterior.std, expected.std, rtol=1e-5, atol=1e-5)
    z = torch.randn(2, 4, positions, generator=torch.Generator().manual_seed(0))
    sound = theirs.decode(z).sample
    assert sound.std() > 0.001 and (sound.abs() < 1).any()
    torch.testing.assert_close(ours.decode(z), sound, rtol=1e-5, atol=1e-5)


CONFIG = MiniMaxH3AudioConfig(4, (4, 8), (10,), 16, 8, (12, 6, 3), (5, 2), (9, 4), (3,), ((1, 3),), True, 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"strides": ()},
        {"decoder_widths": (12, 6)},
        {"decoder_strides": (2, 2)},
        {"decoder_kernels": (8, 4)},
        {"heads": 3},
        {"dilations": ((1,), (1,))},
        {"dilations": ((),)},
    ],
)
def test_configs_of_no_network_are_refused(fields: dict[str, Any]) -> None:
    assert CONFIG.geometry.factors == (10,)
    with pytest.raises(ValueError, match=r"."):
        replace(CONFIG, **fields)

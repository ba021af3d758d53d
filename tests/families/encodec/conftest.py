"""transformers' EncodecModel with random weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from random_weights import shaken, waveform
from torch import nn
from transformers import EncodecConfig, EncodecModel

SHAPES: dict[str, dict[str, Any]] = {
    "24 kHz": {"target_bandwidths": [3.0]},
    "32 kHz": {
        "upsampling_ratios": [8, 5, 4, 4],
        "use_causal_conv": False,
        "use_conv_shortcut": False,
        "sampling_rate": 32_000,
        "target_bandwidths": [0.8],
    },
    "stereo, two levels, two blocks": {
        "upsampling_ratios": [3, 2],
        "num_residual_layers": 2,
        "audio_channels": 2,
        "sampling_rate": 1_200,
        "compress": 4,
        "kernel_size": 5,
        "num_lstm_layers": 1,
        "target_bandwidths": [1.6],
    },
}


@pytest.fixture(scope="module", params=SHAPES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    config = EncodecConfig(num_filters=4, hidden_size=6, codebook_size=16, **SHAPES[request.param])
    return saved(config, tmp_path_factory.mktemp("theirs"))


@pytest.fixture(scope="module")
def chunked(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """A model of chunks of 160 samples that overlap by 8."""
    config = EncodecConfig(
        num_filters=4,
        hidden_size=6,
        codebook_size=16,
        upsampling_ratios=[4, 2],
        num_lstm_layers=1,
        audio_channels=2,
        sampling_rate=1_600,
        normalize=True,
        chunk_length_s=0.1,
        overlap=0.05,
        norm_type="time_group_norm",
        use_causal_conv=False,
        target_bandwidths=[2.4],
    )
    return saved(config, tmp_path_factory.mktemp("theirs"))


def saved(config: EncodecConfig, folder: Path) -> tuple[nn.Module, Path]:
    """A model with random weights and codebooks that fit its encoder, and its folder."""
    torch.manual_seed(0)
    theirs = shaken(EncodecModel(config), 0.2)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        encoded = theirs.encoder(waveform(theirs.config.audio_channels, 9 * theirs.config.hop_length))
    center, spread = encoded.mean(dim=(0, 2)), encoded.std(dim=(0, 2))
    for number, stage in enumerate(theirs.quantizer.layers):
        stage.codebook.embed.copy_(center * (number == 0) + spread * torch.randn(16, 6, generator=generator))
    theirs.save_pretrained(folder)
    return theirs, folder

"""diffusers' AutoencoderKLLTXVideo and AutoencoderKLLTX2Video with random weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from one_frame import theirs_of
from torch import nn

SHAPES: dict[str, dict[str, Any]] = {
    "AutoencoderKLLTXVideo": {
        "block_out_channels": (8, 12, 16, 16),
        "decoder_block_out_channels": (8, 12, 16, 16),
        "layers_per_block": (1, 1, 2, 1, 1),
        "decoder_layers_per_block": (1, 2, 1, 1, 1),
        "latent_channels": 6,
    },
    "AutoencoderKLLTX2Video": {
        "block_out_channels": (16, 16, 32, 64),
        "decoder_block_out_channels": (16, 32, 64),
        "layers_per_block": (1, 1, 2, 1, 1),
        "decoder_layers_per_block": (1, 2, 1, 1),
        "latent_channels": 8,
    },
}


@pytest.fixture(scope="module", params=SHAPES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    theirs: Any = theirs_of(request.param, noise=0.05, **SHAPES[request.param])
    theirs.latents_mean.copy_(torch.randn(theirs.latents_mean.shape))
    theirs.latents_std.copy_(torch.rand(theirs.latents_std.shape) + 0.5)
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    return theirs, folder

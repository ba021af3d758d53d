"""diffusers' AutoencoderKLKVAE with random weights."""

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import nn

SHAPES: dict[str, dict[str, Any]] = {
    "as published": {"channels": 32, "ch_mult": (1, 2, 4, 8), "num_enc_blocks": 2, "num_dec_blocks": 2},
    "two levels": {"channels": 32, "ch_mult": (1, 3), "num_enc_blocks": 1, "num_dec_blocks": 3, "z_channels": 4},
}


def theirs_of(shape: str) -> nn.Module:
    if not hasattr(diffusers, "AutoencoderKLKVAE"):
        pytest.skip("this diffusers has no AutoencoderKLKVAE")
    torch.manual_seed(0)
    theirs = diffusers.AutoencoderKLKVAE(**SHAPES[shape]).eval()
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.add_(torch.randn(weight.shape) * 0.02)  # biases of zero would hide what the padding does
    return theirs


@pytest.fixture(scope="module", params=SHAPES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    theirs = theirs_of(request.param)
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    return theirs, folder

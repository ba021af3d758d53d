"""diffusers' AutoencoderKLKVAEAudio with random weights."""

from pathlib import Path
from typing import Any

import diffusers
import pytest
from random_weights import shaken
from torch import nn

SHAPES: dict[str, dict[str, Any]] = {
    "as published": {"encoder_rates": [2, 3, 4, 5, 8], "decoder_rates": [8, 5, 4, 3, 2], "attn_num_heads": 8},
    "two levels, stereo": {
        "encoder_rates": [3, 4],
        "decoder_rates": [4, 3],
        "attn_num_heads": 2,
        "num_channels": 2,
        "sample_rate": 16_000,
    },
}


@pytest.fixture(scope="module", params=SHAPES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    if not hasattr(diffusers, "AutoencoderKLKVAEAudio"):
        pytest.skip("this diffusers has no AutoencoderKLKVAEAudio")
    theirs = diffusers.AutoencoderKLKVAEAudio(
        encoder_dim=2, latent_dim=16, codebook_dim=4, decoder_dim=64, **SHAPES[request.param]
    )
    shaken(theirs)
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    return theirs, folder

"""diffusers' AutoencoderKLMochi with random weights."""

from pathlib import Path
from typing import Any

import pytest
from one_frame import theirs_of
from torch import nn

SMALL: dict[str, Any] = {
    "latent_channels": 4,
    "latents_mean": [0.5, 0.0, -1.0, 0.25],
    "latents_std": [2.0, 1.0, 0.5, 4.0],
}
SHAPES: dict[str, dict[str, Any]] = {
    "as published": {
        "encoder_block_out_channels": (32, 32, 64, 32),
        "decoder_block_out_channels": (32, 32, 64, 96),
        "layers_per_block": (1, 1, 1, 2, 1),
    },
    "one level": {
        "encoder_block_out_channels": (32, 64),
        "decoder_block_out_channels": (64, 32),
        "layers_per_block": (2, 1, 1),
        "add_attention_block": (True, False, True),
        "temporal_expansions": (2,),
        "spatial_expansions": (2,),
    },
}


@pytest.fixture(scope="module", params=SHAPES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    theirs = theirs_of("AutoencoderKLMochi", **SMALL | SHAPES[request.param])
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    return theirs, folder

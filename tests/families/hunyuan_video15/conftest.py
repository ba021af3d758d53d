"""diffusers' AutoencoderKLHunyuanVideo15 and AutoencoderKLHunyuanImageRefiner with random weights."""

from pathlib import Path
from typing import Any

import pytest
from one_frame import theirs_of
from torch import nn

SMALL: dict[str, Any] = {"latent_channels": 4, "layers_per_block": 1}
SHAPES: dict[str, dict[str, Any]] = {
    "AutoencoderKLHunyuanVideo15": {
        "block_out_channels": (16, 32, 32),
        "spatial_compression_ratio": 4,
        "temporal_compression_ratio": 2,
    },
    "AutoencoderKLHunyuanImageRefiner": {
        "block_out_channels": (8, 16, 64),
        "spatial_compression_ratio": 4,
        "temporal_compression_ratio": 4,
        "layers_per_block": 2,
    },
}


@pytest.fixture(scope="module", params=SHAPES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    theirs = theirs_of(request.param, **SMALL | SHAPES[request.param])
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    return theirs, folder

"""diffusers' AutoencoderKLHunyuanVideo with random weights."""

from pathlib import Path
from typing import Any

import pytest
from one_frame import theirs_of
from torch import nn

DOWN, UP = "HunyuanVideoDownBlock3D", "HunyuanVideoUpBlock3D"
SHAPES: dict[str, dict[str, Any]] = {
    "three levels": {"block_out_channels": (32, 64, 32), "spatial_compression_ratio": 4, "scaling_factor": 0.476986},
    "without attention": {
        "block_out_channels": (32, 64),
        "spatial_compression_ratio": 2,
        "layers_per_block": 2,
        "mid_block_add_attention": False,
        "scaling_factor": 0.5,
    },
}


def built(settings: dict[str, Any]) -> nn.Module:
    levels = len(settings["block_out_channels"])
    types = {"down_block_types": (DOWN,) * levels, "up_block_types": (UP,) * levels}
    return theirs_of("AutoencoderKLHunyuanVideo", **{"latent_channels": 4, "layers_per_block": 1} | types | settings)


@pytest.fixture(scope="module", params=SHAPES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    theirs = built(SHAPES[request.param])
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    return theirs, folder

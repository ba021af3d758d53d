"""diffusers' AutoencoderKLCogVideoX with random weights."""

from pathlib import Path
from typing import Any

import pytest
from one_frame import theirs_of
from torch import nn

SHAPES: dict[str, dict[str, Any]] = {
    "three levels": {"block_out_channels": (32, 64, 64), "layers_per_block": 1, "scaling_factor": 0.7},
    "two levels": {"block_out_channels": (64, 32), "layers_per_block": 2, "latent_channels": 6},
}


@pytest.fixture(scope="module", params=SHAPES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    settings = {"latent_channels": 4} | SHAPES[request.param]
    levels = len(settings["block_out_channels"])
    types = {"down_block_types": ("CogVideoXDownBlock3D",) * levels, "up_block_types": ("CogVideoXUpBlock3D",) * levels}
    theirs = theirs_of("AutoencoderKLCogVideoX", **settings | types)
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    return theirs, folder

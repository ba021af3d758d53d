"""diffusers' Kandinsky6SRVAE with random weights."""

from pathlib import Path
from typing import Any

import pytest
from one_frame import theirs_of
from torch import nn

SHAPES: dict[str, dict[str, Any]] = {
    "two levels in time": {
        "encoder_block_out_channels": (8, 12, 16, 24),
        "decoder_block_out_channels": (8, 16, 24, 32),
    },
    "one": {
        "encoder_block_out_channels": (8, 16),
        "decoder_block_out_channels": (12, 16),
        "layers_per_block": 2,
        "temporal_compression_ratio": 2,
        "temporal_compression_start_level": 0,
    },
}


@pytest.fixture(scope="module", params=SHAPES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    theirs = theirs_of("Kandinsky6SRVAE", **{"latent_channels": 4, "layers_per_block": 1} | SHAPES[request.param])
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    return theirs, folder

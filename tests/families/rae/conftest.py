"""diffusers' AutoencoderRAE with random weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from one_frame import theirs_of
from torch import nn

SMALL: dict[str, Any] = {
    "encoder_hidden_size": 128,
    "encoder_num_hidden_layers": 2,
    "decoder_hidden_size": 64,
    "decoder_num_hidden_layers": 2,
    "decoder_num_attention_heads": 4,
    "decoder_intermediate_size": 96,
    "encoder_input_size": 56,
}
GENERATOR = torch.Generator().manual_seed(0)
SHAPES: dict[str, dict[str, Any]] = {
    "statistics by position": {
        "latents_mean": torch.randn(128, 4, 4, generator=GENERATOR),
        "latents_std": torch.rand(128, 4, 4, generator=GENERATOR) + 0.5,
    },
    "none, and another grid": {"encoder_input_size": 70, "decoder_num_attention_heads": 8, "scaling_factor": 0.5},
}


@pytest.fixture(scope="module", params=SHAPES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    theirs = theirs_of("AutoencoderRAE", **SMALL | SHAPES[request.param])
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    return theirs, folder

"""diffusers' AutoencoderSAME with random weights."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderSAME
from random_weights import shaken

SMALL: dict[str, Any] = {"patch_size": 8, "latent_dim": 6, "dim_heads": 8, "ff_mult": 2}
SHAPES: dict[str, dict[str, Any]] = {
    "as published": SMALL
    | {"encoder_channels": 8, "encoder_c_mults": (4,), "encoder_transformer_depths": (2,)}
    | {"decoder_sinusoidal_blocks": (2,)},
    "two levels": SMALL
    | {"encoder_channels": 16, "encoder_c_mults": (1, 2), "encoder_strides": (2, 4), "sliding_window": 2}
    | {"encoder_transformer_depths": (1, 2), "use_differential_attention": False, "sampling_rate": 48000},
}


@pytest.fixture(scope="module", params=SHAPES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[AutoencoderSAME, Path]:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch.nn.utils.weight_norm, which diffusers uses
        theirs = shaken(AutoencoderSAME(**SHAPES[request.param]), 0.1)
    theirs.bottleneck.running_std.fill_(1.7)
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    return theirs, folder

"""diffusers' LongCatAudioDiTVae with random weights."""

import warnings
from pathlib import Path
from typing import Any

import diffusers
import pytest
from random_weights import shaken
from torch import nn

SHAPES: dict[str, dict[str, Any]] = {
    "as published": {"strides": [2, 4, 4, 8, 8], "c_mults": [1, 2, 4, 8, 16]},
    "groups of all kinds": {
        "strides": [2, 4, 8],
        "c_mults": [2, 8, 4],
        "in_channels": 2,
        "sample_rate": 16_000,
        "downsampling_ratio": 64,
        "scale": 0.5,
    },
}


@pytest.fixture(scope="module", params=SHAPES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    if not hasattr(diffusers, "LongCatAudioDiTVae"):
        pytest.skip("this diffusers has no LongCatAudioDiTVae")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch.nn.utils.weight_norm, which diffusers uses
        theirs = diffusers.LongCatAudioDiTVae(channels=4, latent_dim=4, encoder_latent_dim=8, **SHAPES[request.param])
    shaken(theirs)
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    return theirs, folder

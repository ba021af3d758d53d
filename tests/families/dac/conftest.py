"""transformers' DacModel with random weights."""

from pathlib import Path
from typing import Any

import pytest
from random_weights import shaken
from torch import nn
from transformers import DacConfig, DacModel

SHAPES: dict[str, dict[str, Any]] = {
    "44 kHz": {"downsampling_ratios": [2, 4, 8, 8], "n_codebooks": 9, "sampling_rate": 44_100},
    "24 kHz": {"downsampling_ratios": [2, 4, 5, 8], "n_codebooks": 4, "sampling_rate": 24_000},
    "two odd levels": {"downsampling_ratios": [3, 5], "n_codebooks": 2, "sampling_rate": 8_000},
}


@pytest.fixture(scope="module", params=[(name, normed) for name in SHAPES for normed in (False, True)])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    name, normed = request.param
    config = DacConfig(encoder_hidden_size=2, decoder_hidden_size=48, codebook_size=16, codebook_dim=3, **SHAPES[name])
    theirs = DacModel(config)
    if normed:
        theirs.apply_weight_norm()
    shaken(theirs, 0.3 if normed else 0.12)
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    return theirs, folder

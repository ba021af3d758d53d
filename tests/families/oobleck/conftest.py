"""diffusers' AutoencoderOobleck with random weights."""

import warnings
from pathlib import Path
from typing import Any

import diffusers
import pytest
from random_weights import shaken
from torch import nn

SHAPES: dict[str, dict[str, Any]] = {
    "Stable Audio's strides": {
        "downsampling_ratios": [2, 4, 4, 8, 8],
        "channel_multiples": [1, 2, 1, 2, 1],
        "sampling_rate": 44_100,
    },
    "ACE-Step's strides, mono": {
        "downsampling_ratios": [2, 4, 4, 6, 10],
        "channel_multiples": [1, 1, 2, 2, 3],
        "audio_channels": 1,
        "sampling_rate": 48_000,
    },
}


@pytest.fixture(scope="module", params=SHAPES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch.nn.utils.weight_norm, which diffusers uses
        theirs = diffusers.AutoencoderOobleck(
            encoder_hidden_size=8, decoder_channels=6, decoder_input_channels=4, **SHAPES[request.param]
        )
    shaken(theirs)
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    return theirs, folder

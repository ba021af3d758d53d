"""transformers' VibeVoiceAcousticTokenizerModel with random weights."""

from pathlib import Path
from typing import Any

import pytest
import transformers
from random_weights import shaken
from torch import nn

SHAPES: dict[str, dict[str, Any]] = {
    "as published": {"downsampling_ratios": [2, 2, 4, 5, 5, 8], "depths": [1, 1, 1, 1, 1, 1, 2], "num_filters": 2},
    "stereo, two levels": {
        "downsampling_ratios": [3, 4],
        "depths": [2, 0, 1],
        "num_filters": 4,
        "channels": 2,
        "kernel_size": 5,
        "ffn_expansion": 2,
        "vae_std": 0.5,
    },
}


@pytest.fixture(scope="module", params=SHAPES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    build = getattr(transformers, "VibeVoiceAcousticTokenizerModel", None)
    if build is None:
        pytest.skip("this transformers has no VibeVoiceAcousticTokenizerModel")
    theirs = shaken(build(build.config_class(hidden_size=4, **SHAPES[request.param])), 0.15)
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    return theirs, folder

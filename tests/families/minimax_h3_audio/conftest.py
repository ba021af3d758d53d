"""diffusers' AutoencoderKLMiniMaxH3Audio with random weights."""

import warnings
from pathlib import Path
from typing import Any

import diffusers
import pytest
from random_weights import shaken
from torch import nn

SHAPES: dict[str, dict[str, Any]] = {
    "as published": {
        "encoder_rates": (2, 4, 4, 5, 5),
        "decoder_dim": 256,
        "decoder_rates": (5, 5, 2, 2, 2, 2, 2),
        "decoder_kernel_sizes": (9, 9, 4, 4, 4, 4, 4),
        "latents_mean": [0.5, -1.0, 0.0, 0.25],
        "latents_std": [1.0, 2.0, 0.5, 4.0],
    },
    "two levels": {
        "encoder_rates": (3, 4),
        "decoder_dim": 8,
        "decoder_rates": (4, 3),
        "decoder_kernel_sizes": (8, 5),
        "resblock_kernel_sizes": (3, 5),
        "resblock_dilation_sizes": ((1, 2), (1, 4)),
        "num_attention_heads": 2,
        "sampling_rate": 16_000,
    },
}


@pytest.fixture(scope="module", params=SHAPES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    if not hasattr(diffusers, "AutoencoderKLMiniMaxH3Audio"):
        pytest.skip("this diffusers has no AutoencoderKLMiniMaxH3Audio")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch.nn.utils.weight_norm, which diffusers uses
        theirs = diffusers.AutoencoderKLMiniMaxH3Audio(
            encoder_dim=2, latent_dim=32, latent_channels=4, **SHAPES[request.param]
        )
    shaken(theirs, 0.1)
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    return theirs, folder

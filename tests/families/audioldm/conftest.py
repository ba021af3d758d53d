"""diffusers' AutoencoderKL of spectrograms and transformers' SpeechT5HifiGan with random weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from torch import nn
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

SMALL: dict[str, Any] = {"model_in_dim": 16, "upsample_initial_channel": 32, "resblock_kernel_sizes": [3, 7]}
SMALL |= {"resblock_dilation_sizes": [[1, 3], [1, 3]]}
VOCODERS: dict[str, dict[str, Any]] = {
    "AudioLDM": SMALL
    | {"upsample_rates": [5, 4, 2, 2, 2], "upsample_kernel_sizes": [16, 16, 8, 4, 4], "normalize_before": False},
    "SpeechT5": SMALL,
}


@pytest.fixture(scope="module", params=VOCODERS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, nn.Module, Path]:
    """Their VAE and vocoder, and the folder of the pipeline."""
    torch.manual_seed(0)
    theirs = AutoencoderKL(
        in_channels=1,
        out_channels=1,
        latent_channels=4,
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        scaling_factor=0.9,
    )
    vocoder = SpeechT5HifiGan(SpeechT5HifiGanConfig(**VOCODERS[request.param]))
    folder = tmp_path_factory.mktemp("theirs")
    (folder / "model_index.json").write_text('{"_class_name": "AudioLDMPipeline"}')
    for each, name, by in ((theirs, "vae", 0.02), (vocoder, "vocoder", 0.2)):
        with torch.no_grad():
            for weight in each.eval().state_dict().values():
                weight.add_((torch.rand(weight.shape) - 0.4) * by)
        each.save_pretrained(folder / name)
    return theirs, vocoder, folder

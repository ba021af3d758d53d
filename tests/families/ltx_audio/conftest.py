"""diffusers' AutoencoderKLLTX2Audio and its vocoders with random weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLLTX2Audio
from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder, LTX2VocoderWithBWE
from torch import nn

SMALL: dict[str, Any] = {"resnet_kernel_sizes": [3, 7], "resnet_dilations": [[1, 3], [1, 3]]}
BWE: dict[str, Any] = {f"bwe_{name}": value for name, value in SMALL.items()}
BWE |= {"bwe_hidden_channels": 16, "bwe_in_channels": 16, "num_mel_channels": 8}
BWE |= {"bwe_upsample_kernel_sizes": [12, 11, 16], "bwe_upsample_factors": [6, 5, 8]}
BWE |= {"filter_length": 128, "window_length": 128, "upsample_kernel_sizes": [11, 16, 8], "upsample_factors": [5, 8, 4]}
VOCODERS = {
    "24 kHz": lambda: LTX2Vocoder(in_channels=32, hidden_channels=64, **SMALL),
    "48 kHz": lambda: LTX2VocoderWithBWE(in_channels=32, hidden_channels=16, **SMALL, **BWE),
    "none": lambda: None,
}


def randomize(theirs: nn.Module, scale: float = 0.02) -> None:
    """Change every tensor: biases of zero and filters of zero would hide mistakes."""
    with torch.no_grad():
        for name, weight in theirs.state_dict().items():
            if not name.endswith(".filter"):
                weight.add_(torch.randn(weight.shape) * scale)


@pytest.fixture(scope="module", params=VOCODERS)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[nn.Module, nn.Module | None, Path]:
    """Their VAE and vocoder, and the folder of the VAE; that of the vocoder is beside it."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"num_res_blocks": 1, "latent_channels": 8, "mel_bins": 16}
    theirs = AutoencoderKLLTX2Audio(base_channels=32, ch_mult=(1, 1, 2), **sizes)
    vocoder = VOCODERS[request.param]()
    folder = tmp_path_factory.mktemp("theirs")
    for each, name in ((theirs, "audio_vae"), (vocoder, "vocoder")):
        if each is not None:
            randomize(each.eval())
            each.save_pretrained(folder / name)
    return theirs, vocoder, folder / "audio_vae"

"""The latent previewer: what its published code does, and an image that one recognizes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from refusals import refuses
from torch import Tensor
from torch.nn import functional as F

from vaekit.checkpoints.load import load
from vaekit.errors import HalfMissing
from vaekit.families.approx.net import ApproxConfig, build
from vaekit.runtime.engine import Engine


def as_published(tensors: dict[str, Tensor], z: Tensor) -> Tensor:
    """Read off the web UI's code, with its own constants."""
    h = F.pad(F.interpolate(z, (z.shape[2] * 2, z.shape[3] * 2)), (11, 11, 11, 11))
    for i in range(1, 9):
        h = F.leaky_relu(F.conv2d(h, tensors[f"conv{i}.weight"], tensors[f"conv{i}.bias"]), 0.1)
    return h


@torch.no_grad()
def test_is_what_the_published_code_does() -> None:
    torch.manual_seed(0)
    config = ApproxConfig(3, 4, (8, 16, 32, 64, 32, 16, 8), (7, 5, 3, 3, 3, 3, 3, 3))
    encoder, decoder = build(config)
    z = torch.randn(2, 4, 5, 7)
    assert encoder is None
    assert decoder(z).shape == (2, 3, 10, 14)
    torch.testing.assert_close(decoder(z), as_published(decoder.state_dict(), z))


@torch.no_grad()
@pytest.mark.parametrize("name", ["kodim03.png", pytest.param("kodim05.png", marks=pytest.mark.nightly)])
def test_previews_look_like_the_image(shared_data: Path, name: str) -> None:
    with Image.open(shared_data / "images" / "kodak" / name) as image:
        x = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).unsqueeze(0).float() / 127.5 - 1
    latents = load(shared_data / "vae" / "taesd").float().encode(x).mean
    preview = Engine(load(shared_data / "vae" / "vae_approx" / "model.pt")).decode(latents)
    small = F.interpolate(x, size=preview.shape[2:], mode="area")
    assert preview.shape == (1, 3, x.shape[2] // 4, x.shape[3] // 4)
    for channel in range(3):
        pair = torch.stack([small[0, channel].flatten(), preview[0, channel].flatten()])
        assert torch.corrcoef(pair)[0, 1] > 0.9
    # Also in absolute terms: a preview in 0..1 or with its channels in another order would be far off.
    assert (preview - small).square().mean() < (preview.flip(1) - small).square().mean()
    assert (preview - small).square().mean().sqrt() < 0.3


def test_it_cannot_encode(shared_data: Path) -> None:
    with refuses(HalfMissing, "decoder"):
        load(shared_data / "vae" / "vae_approx" / "model.pt").encode(torch.zeros(1, 3, 8, 8))

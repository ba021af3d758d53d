"""The asymmetric autoencoders: the same numbers as diffusers', with and without a known image, in both directions."""

import math
from pathlib import Path

import diffusers
import pytest
import torch
from torch import Tensor

from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.families import assemble, family_of
from vaekit.families.asymmetric.net import AsymmetricConfig, Decoder
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE

TOLERANCE = 1e-4
SD1 = LatentNormalization((0.0,), (0.18215,))


def theirs(layers: int = 3) -> diffusers.AsymmetricAutoencoderKL:
    """diffusers' model in a quarter of the published widths or less, with random weights."""
    torch.manual_seed(0)
    return diffusers.AsymmetricAutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        down_block_out_channels=(32, 32, 64, 64),
        layers_per_down_block=2,
        up_block_types=("UpDecoderBlock2D",) * 4,
        up_block_out_channels=(32, 64, 128, 128),
        layers_per_up_block=layers,
    ).eval()


def images(height: int, width: int) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


def half_mask(height: int, width: int) -> Tensor:
    """A painted corner, whose border no factor divides."""
    mask = torch.zeros(2, 1, height, width)
    mask[:, :, 5:, : width // 2 + 3] = 1
    return mask


def agree(ours: VAE, model: diffusers.AsymmetricAutoencoderKL) -> None:
    x, mask = images(32, 48), half_mask(32, 48)
    z = model.encode(x).latent_dist.mean
    torch.testing.assert_close(ours.encode(x).mean, z, atol=TOLERANCE, rtol=0)
    plain = model.decode(z).sample
    torch.testing.assert_close(ours.decode(z), plain, atol=TOLERANCE, rtol=0)
    told = model.decode(z, image=x, mask=mask).sample
    assert isinstance(ours.decoder, Decoder)
    torch.testing.assert_close(ours.decoder.inpaint(z, x, mask), told, atol=TOLERANCE, rtol=0)
    assert (told - plain).abs().max() > 0.01


@torch.no_grad()
@pytest.mark.parametrize("layers", [3, 5], ids=["x1.5", "x2"])
def test_agrees_with_diffusers(layers: int, tmp_path: Path) -> None:
    model = theirs(layers)
    model.save_pretrained(tmp_path)
    vae = load(tmp_path)
    assert (vae.config.encoder_blocks, vae.config.decoder_blocks, vae.normalization) == (2, layers + 1, SD1)
    agree(vae, model)


@torch.no_grad()
def test_diffusers_opens_what_was_saved(tmp_path: Path) -> None:
    torch.manual_seed(1)
    config = AsymmetricConfig(3, 4, 4, (32, 32, 64, 64), (32, 64, 128, 128), 1, 3, (), (), True, True, True, 32)
    vae = assemble(family_of("asymmetric"), config, normalization=SD1).eval()
    save(vae, tmp_path / "folder", "diffusers")
    model = diffusers.AsymmetricAutoencoderKL.from_pretrained(tmp_path / "folder").eval()
    assert model.config.scaling_factor == 0.18215
    x = images(16, 24)
    torch.testing.assert_close(vae.encode(x).mean, model.encode(x).latent_dist.mean, atol=TOLERANCE, rtol=0)
    z = torch.randn(1, 4, 4, 4)
    torch.testing.assert_close(vae.decode(z), model.decode(z).sample, atol=TOLERANCE, rtol=0)


@torch.no_grad()
def test_what_is_under_the_mask_is_never_looked_at() -> None:
    torch.manual_seed(0)
    config = AsymmetricConfig(3, 4, 4, (32, 64), (32, 64), 1, 2, (), (), True, True, True, 32)
    _, decoder = family_of("asymmetric").build(config)
    x, mask, z = images(16, 16), half_mask(16, 16), torch.randn(2, 4, 8, 8)
    hidden = torch.where(mask == 1, math.nan, x)
    assert torch.equal(decoder.inpaint(z, x, mask), decoder.inpaint(z, hidden, mask))
    assert not torch.equal(decoder.inpaint(z, x, mask), decoder.inpaint(z, -x, mask))


@pytest.mark.parametrize(("widths", "blocks"), [((192, 384, 768, 768), 3), ((256, 512, 1024, 1024), 5)])
def test_has_as_many_weights_as_diffusers_builds(widths: tuple[int, ...], blocks: int) -> None:
    config = AsymmetricConfig(3, 4, 4, (128, 256, 512, 512), widths, 2, blocks + 1, (), (), True, True, True, 32)
    with torch.device("meta"):
        ours = assemble(family_of("asymmetric"), config)
        model = diffusers.AsymmetricAutoencoderKL(**family_of("asymmetric").diffusers(config, SD1))
    assert sum(weight.numel() for weight in ours.parameters()) == sum(weight.numel() for weight in model.parameters())
    assert {tuple(weight.shape) for weight in ours.decoder.condition_encoder.parameters()} == {
        tuple(weight.shape) for weight in model.decoder.condition_encoder.parameters()
    }

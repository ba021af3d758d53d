"""The KL autoencoder: the same numbers as diffusers', and any shape of it."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refuses
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.distributions import DiagonalGaussian
from vaekit.families.kl.net import Attention, KLConfig, build

FULL_WIDTHS = (128, 256, 512, 512)
TOLERANCE = 1e-4


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """diffusers tells at every load that `accelerate` is not there."""
    level = diffusers.utils.logging.get_verbosity()
    diffusers.utils.logging.set_verbosity_error()
    yield
    diffusers.utils.logging.set_verbosity(level)


def theirs(widths: tuple[int, ...], channels: int, quant: bool) -> diffusers.AutoencoderKL:
    """diffusers' model with random weights, norms and biases included, that keep signals near unit size."""
    with torch.device("meta"):
        model = diffusers.AutoencoderKL(
            block_out_channels=widths,
            down_block_types=("DownEncoderBlock2D",) * len(widths),
            up_block_types=("UpDecoderBlock2D",) * len(widths),
            layers_per_block=2,
            latent_channels=channels,
            norm_num_groups=32,
            use_quant_conv=quant,
            use_post_quant_conv=quant,
        )
    model = model.to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        fan_in = parameter[0].numel()
        nn.init.normal_(parameter, std=fan_in**-0.5 if parameter.dim() > 1 else 0.1, generator=generator)
        if "norm" in name and name.endswith("weight"):
            parameter.data += 1
    return model


def images(batch: int, height: int, width: int) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.no_grad()
def assert_same(model: diffusers.AutoencoderKL, folder: Path, x: Tensor) -> None:
    """Moments and images, and that these are numbers worth comparing."""
    model.save_pretrained(folder)
    vae = load(folder)
    posterior, reference = vae.encode(x), model.encode(x).latent_dist
    assert isinstance(posterior, DiagonalGaussian)
    assert reference.mean.std() > 0.1
    torch.testing.assert_close(posterior.mean, reference.mean, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(posterior.log_variance, reference.logvar, atol=TOLERANCE, rtol=0)
    image = model.decode(reference.mean).sample
    assert image.std() > 0.1
    assert image.shape == x.shape
    torch.testing.assert_close(vae.decode(reference.mean), image, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(("channels", "quant"), [(4, True), (16, False)], ids=["sd1", "sd3-and-flux"])
@pytest.mark.parametrize("size", [(72, 40), (8, 24)])
def test_agrees_with_diffusers(channels: int, quant: bool, size: tuple[int, int], tmp_path: Path) -> None:
    assert_same(theirs((32, 64, 64, 64), channels, quant), tmp_path, images(3, *size))


@pytest.mark.nightly
def test_agrees_with_diffusers_at_full_size(tmp_path: Path) -> None:
    assert_same(theirs(FULL_WIDTHS, 4, True), tmp_path, images(1, 64, 48))


@pytest.mark.parametrize(("channels", "quant"), [(4, True), (16, False)], ids=["sd1", "sd3-and-flux"])
def test_reflection_is_the_communitys_recipe(channels: int, quant: bool, tmp_path: Path) -> None:
    """Every convolution with padding reflects, and the strided ones, which have none of their own, keep their zeros."""
    model = theirs((32, 64, 64, 64), channels, quant)
    model.save_pretrained(tmp_path)
    before = load(tmp_path)
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.padding != (0, 0):
            module.padding_mode = "reflect"
    vae, x = load(tmp_path, padding="reflect"), images(2, 72, 40)
    with torch.no_grad():
        mean = model.encode(x).latent_dist.mean
        torch.testing.assert_close(vae.encode(x).mean, mean, atol=TOLERANCE, rtol=0)
        torch.testing.assert_close(vae.decode(mean), model.decode(mean).sample, atol=TOLERANCE, rtol=0)
        assert (before.encode(x).mean - mean).abs().max() > 100 * TOLERANCE


def test_there_are_two_paddings() -> None:
    with refuses(ValueError, "replicate"):
        replace(published(4, True), padding="replicate")


def published(channels: int, quant: bool) -> KLConfig:
    return KLConfig(
        image_channels=3,
        latent_channels=channels,
        hidden_channels=channels,
        encoder_widths=FULL_WIDTHS,
        decoder_widths=FULL_WIDTHS,
        encoder_blocks=2,
        decoder_blocks=3,
        encoder_attention=(),
        decoder_attention=(),
        mid_attention=True,
        quant_conv=quant,
        post_quant_conv=quant,
        norm_groups=32,
    )


@pytest.mark.parametrize(
    ("channels", "quant", "count"), [(4, True, 83_653_863), (16, False, 83_819_683)], ids=["sd1", "sd3-and-flux"]
)
def test_has_as_many_weights_as_the_published_models(channels: int, quant: bool, count: int) -> None:
    with torch.device("meta"):
        halves = build(published(channels, quant))
    assert sum(parameter.numel() for half in halves for parameter in half.parameters()) == count


@st.composite
def settings_of_nets(draw: st.DrawFn) -> dict[str, Any]:
    levels = draw(st.integers(1, 4))
    widths = st.tuples(*[st.sampled_from([4, 8])] * levels)
    some_levels = st.sets(st.integers(0, levels - 1)).map(lambda found: tuple(sorted(found)))
    latent, quant = draw(st.integers(1, 5)), draw(st.booleans())
    return {
        "image_channels": 3,
        "latent_channels": latent,
        "hidden_channels": draw(st.integers(1, 5)) if quant else latent,
        "encoder_widths": draw(widths),
        "decoder_widths": draw(widths),
        "encoder_blocks": draw(st.integers(1, 2)),
        "decoder_blocks": draw(st.integers(1, 2)),
        "encoder_attention": draw(some_levels),
        "decoder_attention": draw(some_levels),
        "mid_attention": draw(st.booleans()),
        "quant_conv": quant,
        "post_quant_conv": quant,
        "norm_groups": 2,
    }


@given(settings_of_nets(), st.integers(1, 2), st.integers(1, 2), st.integers(1, 2))
@settings(max_examples=15, deadline=None)
def test_any_number_of_levels_and_attention_anywhere(
    values: dict[str, Any], batch: int, rows: int, columns: int
) -> None:
    config = KLConfig(**values)
    assert config.geometry.factors[0] == 2 ** (len(config.encoder_widths) - 1)
    encoder, decoder = build(config)
    x = images(batch, rows * config.geometry.factors[0], columns * config.geometry.factors[0])
    with torch.no_grad():
        moments = encoder(x)
        image = decoder(moments[:, : config.geometry.latent_channels])
    assert moments.shape == (batch, 2 * config.geometry.latent_channels, rows, columns)
    assert image.shape == x.shape
    in_levels = len(config.encoder_attention) * config.encoder_blocks
    in_levels += len(config.decoder_attention) * config.decoder_blocks
    found = sum(isinstance(module, Attention) for half in (encoder, decoder) for module in half.modules())
    assert found == in_levels + 2 * config.mid_attention


def test_every_weight_takes_part() -> None:
    config = replace(
        published(4, True),
        encoder_widths=(4, 8),
        decoder_widths=(4, 8),
        encoder_attention=(0, 1),
        decoder_attention=(0, 1),
        norm_groups=2,
    )
    encoder, decoder = build(config)
    decoder(encoder(images(1, 4, 4))[:, :4]).sum().backward()
    names = [name for half in (encoder, decoder) for name, weight in half.named_parameters() if weight.grad is None]
    assert names == []


def test_attention_sees_the_whole_map_and_no_other_image() -> None:
    torch.manual_seed(0)
    attention = Attention(8, 2)
    x = torch.randn(2, 8, 4, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    attention(x)[0, :, 0, 0].sum().backward()
    assert x.grad is not None
    assert (x.grad[0].abs().sum(dim=0) > 0).all()
    assert (x.grad[1] == 0).all()


@torch.no_grad()
def test_attention_is_the_textbook_formula() -> None:
    torch.manual_seed(0)
    attention = Attention(8, 2)
    x = torch.randn(1, 8, 3, 5)
    h = attention.norm(x)
    q, k, v = (conv(h)[0].flatten(1).T for conv in (attention.q, attention.k, attention.v))
    mixed = ((q @ k.T) / math.sqrt(8)).softmax(dim=-1) @ v
    expected = x + attention.proj_out(mixed.T.reshape(1, 8, 3, 5))
    torch.testing.assert_close(attention(x), expected)


@pytest.mark.parametrize(("channels", "quant"), [(4, True), (16, False)])
def test_ldm_keys_are_those_that_diffusers_converts(tmp_path: Path, channels: int, quant: bool) -> None:
    """diffusers' own converter, written for the original checkpoints, is the judge of what LDM's names are."""
    torch.manual_seed(0)
    levels, widths = 4, (32, 64, 64, 64)
    config = {
        "block_out_channels": widths,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": 2,
        "latent_channels": channels,
        "use_quant_conv": quant,
        "use_post_quant_conv": quant,
    }
    fresh = diffusers.AutoencoderKL(**config)
    fresh.save_pretrained(tmp_path / "diffusers")
    ours = load(tmp_path / "diffusers")
    save(ours, tmp_path / "ldm.safetensors", "ldm")
    original = {f"first_stage_model.{key}": tensor for key, tensor in load_file(tmp_path / "ldm.safetensors").items()}
    theirs = diffusers.AutoencoderKL(**config).eval()
    theirs.load_state_dict(convert_ldm_vae_checkpoint(original, config), strict=True)
    save_file(original, tmp_path / "checkpoint.safetensors")
    behind_prefix = load(tmp_path / "checkpoint.safetensors")
    x = torch.rand(3, 3, 72, 40) * 2 - 1
    with torch.no_grad():
        expected = theirs.encode(x).latent_dist
        posterior = behind_prefix.encode(x)
        assert (posterior.mean - expected.mean).abs().max() <= 1e-4
        assert (posterior.log_variance - expected.logvar).abs().max() <= 1e-4
        assert (behind_prefix.decode(expected.mean) - theirs.decode(expected.mean).sample).abs().max() <= 1e-4

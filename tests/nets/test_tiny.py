"""The tiny autoencoders: the same numbers as diffusers' and as the published weights give."""

from collections.abc import Iterator
from pathlib import Path

import diffusers
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn

from vaekit.checkpoints.loading import load
from vaekit.nets.tiny import TinyConfig, build

TOLERANCE = 1e-4


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """diffusers tells at every load that `accelerate` is not there."""
    level = diffusers.utils.logging.get_verbosity()
    diffusers.utils.logging.set_verbosity_error()
    yield
    diffusers.utils.logging.set_verbosity(level)


def pictures(batch: int, height: int, width: int) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


def theirs(channels: int) -> diffusers.AutoencoderTiny:
    """diffusers' model with random weights that keep signals near unit size."""
    model = diffusers.AutoencoderTiny(
        latent_channels=channels, encoder_block_out_channels=(16,) * 4, decoder_block_out_channels=(16,) * 4
    ).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        fan_in = parameter[0].numel()
        nn.init.normal_(parameter, std=(2 / fan_in) ** 0.5 if parameter.dim() > 1 else 0.1, generator=generator)
    return model


@torch.no_grad()
@pytest.mark.parametrize("channels", [4, 16])
@pytest.mark.parametrize("size", [(72, 40), (8, 24)])
def test_agrees_with_diffusers(channels: int, size: tuple[int, int], tmp_path: Path) -> None:
    model, x = theirs(channels), pictures(3, *size)
    model.save_pretrained(tmp_path)
    vae = load(tmp_path)
    latents = model.encode(x).latents
    assert latents.std() > 0.1
    torch.testing.assert_close(vae.encode(x).mean, latents, atol=TOLERANCE, rtol=0)
    picture = model.decode(latents).sample
    assert picture.std() > 0.1
    torch.testing.assert_close(vae.decode(latents), picture, atol=TOLERANCE, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("name", ["taesd", "taesd3", "taef2"])
def test_published_weights_give_the_published_numbers(name: str, shared_data: Path) -> None:
    reference = load_file(shared_data / "vae" / "reference" / "tiny_reference_fp32_cpu.safetensors")
    pixels = reference["input_uint8_kodim05_crop_0_0_128_128"]
    x = pixels.permute(2, 0, 1).unsqueeze(0).float() / 127.5 - 1
    vae = load(shared_data / "vae" / name).float()
    latent = reference[f"{name}.latent"]
    torch.testing.assert_close(vae.encode(x).mean, latent, atol=TOLERANCE, rtol=0)
    picture = (vae.decode(latent) + 1) / 2  # the reference has pixels in 0..1
    torch.testing.assert_close(picture, reference[f"{name}.image"], atol=TOLERANCE, rtol=0)


@st.composite
def settings_of_nets(draw: st.DrawFn) -> tuple[int, int, tuple[int, ...], tuple[int, ...], bool]:
    stages = draw(st.integers(1, 4))
    blocks = st.tuples(*[st.integers(1, 2)] * stages)
    return draw(st.integers(1, 5)), draw(st.sampled_from([4, 8])), draw(blocks), draw(blocks), draw(st.booleans())


@given(settings_of_nets(), st.integers(1, 2), st.integers(1, 2), st.integers(1, 2))
@settings(max_examples=15, deadline=None)
@torch.no_grad()
def test_any_number_of_stages(
    values: tuple[int, int, tuple[int, ...], tuple[int, ...], bool], batch: int, rows: int, columns: int
) -> None:
    config = TinyConfig(3, *values)
    encoder, decoder = build(config)
    x = pictures(batch, rows * config.factor, columns * config.factor)
    z = encoder(x)
    assert z.shape == (batch, config.latent_channels, rows, columns)
    assert decoder(z).shape == x.shape


@pytest.mark.parametrize("pool", [False, True])
def test_only_the_pool_branch_sees_the_whole_map(pool: bool) -> None:
    torch.manual_seed(0)
    _, decoder = build(TinyConfig(3, 4, 8, (1,), (1,), pool))
    z = torch.randn(1, 4, 1, 40).requires_grad_()
    decoder(z)[..., 0].sum().backward()
    assert z.grad is not None
    assert bool((z.grad[..., -1] != 0).any()) is pool


def test_extreme_latents_do_no_harm() -> None:
    torch.manual_seed(0)
    _, decoder = build(TinyConfig(3, 4, 8, (1, 1), (1, 1), False))
    wild = torch.full((1, 4, 2, 2), 1e6)
    torch.testing.assert_close(decoder(wild), decoder(torch.full((1, 4, 2, 2), 1e3)))

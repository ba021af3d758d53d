"""The tiny autoencoders: the same numbers as diffusers' and as the published weights give."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.checkpoints.load import load
from vaekit.families.tiny.net import TinyConfig, build

TOLERANCE = 1e-4


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """diffusers tells at every load that `accelerate` is not there."""
    level = diffusers.utils.logging.get_verbosity()
    diffusers.utils.logging.set_verbosity_error()
    yield
    diffusers.utils.logging.set_verbosity(level)


def images(batch: int, height: int, width: int) -> Tensor:
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
    model, x = theirs(channels), images(3, *size)
    model.save_pretrained(tmp_path)
    vae = load(tmp_path)
    latents = model.encode(x).latents
    assert latents.std() > 0.1
    torch.testing.assert_close(vae.encode(x).mean, latents, atol=TOLERANCE, rtol=0)
    image = model.decode(latents).sample
    assert image.std() > 0.1
    torch.testing.assert_close(vae.decode(latents), image, atol=TOLERANCE, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("name", ["taesd", "taesd3", "taef2"])
def test_published_weights_give_the_published_numbers(name: str, shared_data: Path) -> None:
    reference = load_file(shared_data / "vae" / "reference" / "tiny_reference_fp32_cpu.safetensors")
    pixels = reference["input_uint8_kodim05_crop_0_0_128_128"]
    x = pixels.permute(2, 0, 1).unsqueeze(0).float() / 127.5 - 1
    vae = load(shared_data / "vae" / name).float()
    latent = reference[f"{name}.latent"]
    torch.testing.assert_close(vae.encode(x).mean, latent, atol=TOLERANCE, rtol=0)
    image = (vae.decode(latent) + 1) / 2  # the reference has pixels in 0..1
    torch.testing.assert_close(image, reference[f"{name}.image"], atol=TOLERANCE, rtol=0)


@st.composite
def settings_of_nets(draw: st.DrawFn) -> tuple[Any, ...]:
    stages, channels = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    width = st.sampled_from([4, 8])
    widths, blocks = (draw(st.tuples(*[each] * stages)) for each in (width, st.integers(1, 2)))
    stem = (*draw(st.lists(width, max_size=1)), widths[0]) if draw(st.booleans()) else ()
    levels = stages + len(stem)
    other, counts = (draw(st.tuples(*[each] * levels)) for each in (width, st.integers(1, 2)))
    return channels, stem, widths, other, blocks, counts, draw(st.booleans())


@given(settings_of_nets(), st.integers(1, 2), st.integers(1, 2), st.integers(1, 2))
@settings(max_examples=15, deadline=None)
@torch.no_grad()
def test_any_number_of_stages(values: tuple[Any, ...], batch: int, rows: int, columns: int) -> None:
    config = TinyConfig(3, *values)
    encoder, decoder = build(config)
    x = images(batch, rows * config.geometry.factors[0], columns * config.geometry.factors[0])
    z = encoder(x)
    assert z.shape == (batch, config.geometry.latent_channels, rows, columns)
    assert decoder(z).shape == x.shape


def plain_f32(tensors: dict[str, Tensor], x: Tensor, strides: dict[int, int], clamp: bool) -> Tensor:
    """What the published code does with these tensors, read off it without any module: position by position."""
    h = torch.tanh(x / 3) * 3 if clamp else x
    last = max(int(key.split(".")[0]) for key in tensors)
    for position in range(last + 1):
        if f"{position}.weight" in tensors:
            if clamp and f"{position}.bias" not in tensors:
                h = F.interpolate(h, scale_factor=2.0, mode="nearest")
            weight, bias = tensors[f"{position}.weight"], tensors.get(f"{position}.bias")
            h = F.conv2d(h, weight, bias, stride=strides.get(position, 1), padding=1)
        elif f"{position}.conv.0.weight" in tensors:
            branch = h
            for i in (0, 2, 4):
                weight, bias = (tensors[f"{position}.conv.{i}.{leaf}"] for leaf in ("weight", "bias"))
                branch = F.conv2d(F.relu(branch) if i else branch, weight, bias, padding=1)
            h = F.relu(branch + h)
        elif f"{position - 1}.bias" in tensors:
            h = F.relu(h)
    return h


STRIDES = {0: 2, 2: 2, 5: 2, 9: 2, 13: 2}
"""Where the published encoder at 1/32 size halves the resolution."""


def kodak(shared_data: Path, name: str) -> Tensor:
    with Image.open(shared_data / "images" / "kodak" / name) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).unsqueeze(0).float() / 127.5 - 1


@torch.no_grad()
def test_the_published_encoder_at_a_32nd_is_what_its_code_says(shared_data: Path) -> None:
    vae = load(shared_data / "vae" / "taesana" / "taesana_encoder.pth").float()
    assert (vae.config.geometry.factors[0], vae.config.stem_widths, vae.decoder) == (32, (32, 64), None)
    assert vae.encoder is not None
    x = images(2, 96, 64)
    expected = plain_f32(dict(vae.encoder.state_dict()), (x + 1) / 2, STRIDES, clamp=False)
    assert expected.shape == (2, 32, 3, 2)
    torch.testing.assert_close(vae.encode(x).mean, expected, atol=TOLERANCE, rtol=0)


@torch.no_grad()
def test_its_latents_of_photographs_have_the_spread_of_a_diffusion_models(shared_data: Path) -> None:
    vae = load(shared_data / "vae" / "taesana" / "taesana_encoder.pth").float()
    first, *others = sorted(path.name for path in (shared_data / "images" / "kodak").glob("*.png"))[:3]
    latents = [vae.encode(kodak(shared_data, name)).mean for name in (first, *others)]
    for z in latents:
        assert z.shape[1] == 32
        assert 0.6 < z.std().item() < 1.4
        assert abs(z.mean().item()) < 0.3
    assert all((z != latents[0]).any() for z in latents[1:])


@torch.no_grad()
def test_a_decoder_at_a_32nd_is_what_the_published_code_says() -> None:
    torch.manual_seed(0)
    config = TinyConfig(3, 32, (), (8,) * 6, (32, 16, 8, 8, 8, 8), (1,) * 6, (3, 3, 3, 3, 3, 1), False)
    _, decoder = build(config)
    z = torch.randn(2, 32, 2, 3)
    expected = plain_f32(dict(decoder.state_dict()), z, {}, clamp=True) * 2 - 1
    assert expected.shape == (2, 3, 64, 96)
    torch.testing.assert_close(decoder(z), expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("pool", [False, True])
def test_only_the_pool_branch_sees_the_whole_map(pool: bool) -> None:
    torch.manual_seed(0)
    _, decoder = build(TinyConfig(3, 4, (), (8,), (8,), (1,), (1,), pool))
    z = torch.randn(1, 4, 1, 40).requires_grad_()
    decoder(z)[..., 0].sum().backward()
    assert z.grad is not None
    assert bool((z.grad[..., -1] != 0).any()) is pool


def test_extreme_latents_do_no_harm() -> None:
    torch.manual_seed(0)
    _, decoder = build(TinyConfig(3, 4, (), (8, 8), (8, 8), (1, 1), (1, 1), False))
    wild = torch.full((1, 4, 2, 2), 1e6)
    torch.testing.assert_close(decoder(wild), decoder(torch.full((1, 4, 2, 2), 1e3)))

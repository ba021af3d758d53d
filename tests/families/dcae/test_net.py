"""The deep compression autoencoder: the same numbers as diffusers', in every variant that is published."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import diffusers
import pytest
import torch
from torch import Tensor, nn

from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.distributions import Laplace, Point
from vaekit.families import assemble, family_of
from vaekit.families.dcae.net import DCAEConfig, RMSNorm, build, linear_attention
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.vae import VAE

TOLERANCE = 1e-4
WIDTHS = (8, 16, 16, 32)
EMPTY_FIRST = (16, 16, 16, 32)
NONE = ((),) * 4
SANA = DCAEConfig(
    image_channels=3,
    latent_channels=8,
    encoder_widths=WIDTHS,
    decoder_widths=WIDTHS,
    encoder_blocks=(1, 2, 2, 2),
    decoder_blocks=(2, 2, 2, 2),
    encoder_attention=(2, 3),
    decoder_attention=(2, 3),
    encoder_scales=((), (), (5,), (5,)),
    decoder_scales=((), (), (5,), (5,)),
    decoder_batch_norm=(),
    downsample="conv",
    upsample="interpolate",
    head_width=8,
    decoder_relu=(),
    decoder_out_activation="relu",
    encoder_out_shortcut=True,
    decoder_in_shortcut=True,
)
MIX = dataclasses.replace(
    SANA,
    encoder_widths=EMPTY_FIRST,
    decoder_widths=EMPTY_FIRST,
    encoder_blocks=(0, 1, 2, 1),
    decoder_blocks=(0, 2, 1, 1),
    encoder_scales=NONE,
    decoder_scales=NONE,
    decoder_batch_norm=(1,),
    decoder_relu=(1,),
    downsample="pixel_unshuffle",
    upsample="pixel_shuffle",
)
LITE = dataclasses.replace(
    SANA,
    decoder_widths=EMPTY_FIRST,
    decoder_blocks=(0, 1, 1, 1),
    decoder_attention=(),
    decoder_scales=NONE,
    upsample="pixel_shuffle",
    decoder_out_activation="silu",
)
SMALL: dict[str, DCAEConfig] = {
    "sana": SANA,
    "in and mix": MIX,
    "lite": LITE,
    "1.5": dataclasses.replace(
        MIX,
        encoder_attention=(),
        decoder_attention=(),
        decoder_batch_norm=(),
        decoder_relu=(),
        decoder_out_activation="silu",
        encoder_out_shortcut=False,
        decoder_in_shortcut=False,
    ),
    "unpublished": dataclasses.replace(
        SANA,
        encoder_scales=((), (), (3, 5), ()),
        decoder_scales=((), (), (), (5, 7)),
        decoder_batch_norm=(1, 2),
        decoder_relu=(0,),
        downsample="pixel_unshuffle",
        decoder_in_shortcut=False,
    ),
    "way in by a strided convolution": dataclasses.replace(MIX, downsample="conv", upsample="interpolate"),
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """diffusers tells at every load that `accelerate` is not there."""
    level = diffusers.utils.logging.get_verbosity()
    diffusers.utils.logging.set_verbosity_error()
    yield
    diffusers.utils.logging.set_verbosity(level)


def randomize(model: nn.Module) -> None:
    """Random weights, norms and their statistics included, that keep signals near unit size."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2.0, generator=generator)
        elif tensor.is_floating_point():
            fan_in = tensor[0].numel()
            nn.init.normal_(tensor, std=fan_in**-0.5 if tensor.dim() > 1 else 0.1, generator=generator)
            if "norm" in name and name.endswith("weight"):
                tensor += 0.5


def theirs(config: DCAEConfig) -> diffusers.AutoencoderDC:
    """diffusers' model of a config, with random weights."""
    model = diffusers.AutoencoderDC(**family_of("dcae").diffusers(config, None)).eval()
    randomize(model)
    return model


def images(batch: int, height: int, width: int) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


def small(config: DCAEConfig) -> VAE:
    vae = assemble(family_of("dcae"), config).eval()
    randomize(vae)
    return vae


@torch.no_grad()
def assert_same(vae: VAE, model: diffusers.AutoencoderDC, x: Tensor) -> None:
    """Latents and images, to a ten-thousandth of their range, and that these are numbers worth comparing."""
    posterior, reference = vae.encode(x), model.encode(x).latent
    assert isinstance(posterior, Point)
    assert reference.std() > 0.1
    assert_close(posterior.mean, reference)
    image = model.decode(reference).sample
    likelihood = vae.likelihood(reference)
    assert isinstance(likelihood, Laplace)
    assert image.shape == x.shape
    assert image.std() > 0.1
    assert_close(likelihood.mode, image)


def assert_close(ours: Tensor, reference: Tensor) -> None:
    span = (reference.max() - reference.min()).item()
    torch.testing.assert_close(ours, reference, atol=TOLERANCE * span, rtol=0)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("size", [(72, 40), (8, 24)])
def test_agrees_with_diffusers(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    model = theirs(SMALL[name])
    model.save_pretrained(tmp_path)
    vae = load(tmp_path)
    assert vae.config == SMALL[name]
    assert_same(vae, model, images(2, *size))


@pytest.mark.parametrize("name", SMALL)
def test_a_converted_folder_opens_in_diffusers(name: str, tmp_path: Path) -> None:
    vae = small(SMALL[name])
    save(vae, tmp_path / "folder", "diffusers")
    assert_same(vae, diffusers.AutoencoderDC.from_pretrained(tmp_path / "folder").eval(), images(1, 24, 40))


def test_a_head_of_32_channels_agrees_too(tmp_path: Path) -> None:
    wide = dataclasses.replace(MIX, encoder_widths=(32, 32, 64, 64), decoder_widths=(32, 32, 64, 64), head_width=32)
    model = theirs(wide)
    model.save_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()
    vae = load(tmp_path)
    assert vae.config == wide
    assert_same(vae, model, images(1, 64, 56))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_attention_does_not_overflow_in_half_precision(dtype: torch.dtype) -> None:
    """Sums over 96x96 positions of numbers around 30 are far beyond what fp16 can hold."""
    encoder, _ = build(SANA)
    attention = encoder.stages[2][0].attn
    randomize(attention)
    x = 30 * torch.randn(1, 16, 96, 96, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        exact, rounded = attention(x), attention.to(dtype)(x.to(dtype))
    assert rounded.dtype == dtype
    assert (rounded - exact).abs().max() < 0.02 * exact.abs().max()


def test_linear_attention_is_attention_with_relu_for_a_kernel() -> None:
    q, k, v = torch.randn(3, 2, 4, 8, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    weights = k.relu().transpose(2, 3) @ q.relu()  # (b, heads, keys, queries)
    expected = v @ (weights / weights.sum(dim=2, keepdim=True))
    torch.testing.assert_close(linear_attention(q.relu(), k.relu(), v), expected)


def test_a_query_that_meets_no_key_gives_zero() -> None:
    nothing = torch.zeros(1, 1, 8, 5)
    assert linear_attention(nothing, nothing, torch.ones(1, 1, 8, 5)).abs().max() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_norm_holds_large_numbers_in_half_precision(dtype: torch.dtype) -> None:
    x = torch.full((1, 64, 2, 2), 1000.0, dtype=dtype)
    torch.testing.assert_close(RMSNorm(64).to(dtype)(x), torch.ones_like(x))


def test_batch_norm_runs_with_its_statistics(tmp_path: Path) -> None:
    """Each image of a batch as if it were alone."""
    save(small(MIX), tmp_path / "x.safetensors")
    vae, x = load(tmp_path / "x.safetensors"), images(2, 16, 24)
    with torch.no_grad():
        both, alone = vae.reconstruct(x), vae.reconstruct(x[:1])
    torch.testing.assert_close(both[:1], alone)


@pytest.mark.parametrize("name", SMALL)
def test_any_size_goes_through_an_engine(name: str) -> None:
    engine, x = Engine(small(SMALL[name]), Plan(device="cpu")), images(1, 70, 100)
    assert engine.encode(x).mean.shape == (1, 8, 9, 13)
    assert engine.reconstruct(x).shape == x.shape


def test_an_engine_in_the_same_dtype_copies_nothing() -> None:
    vae = small(MIX)  # its counters of batches are whole numbers
    assert Engine(vae, Plan(device="cpu"))._running is vae

"""Parity with diffusers' AutoencoderKLKVAE on random weights, and the files between them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from refusals import refuses
from safetensors.torch import load_file, save_file
from torch import nn

from vaekit import load, save
from vaekit.errors import TooLittleMemory, WrongTensors
from vaekit.families import assemble, family_of
from vaekit.families.kvae.files import detect_kvae, settings
from vaekit.families.kvae.net import KVAEConfig
from vaekit.identification.identify import identify
from vaekit.normalization import LatentNormalization
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.vae import VAE

SHAPES: dict[str, dict[str, Any]] = {
    "as published": {"channels": 32, "ch_mult": (1, 2, 4, 8), "num_enc_blocks": 2, "num_dec_blocks": 2},
    "two levels": {"channels": 32, "ch_mult": (1, 3), "num_enc_blocks": 1, "num_dec_blocks": 3, "z_channels": 4},
}
WEIGHTS = "diffusion_pytorch_model.safetensors"


def theirs_of(shape: str) -> nn.Module:
    if not hasattr(diffusers, "AutoencoderKLKVAE"):
        pytest.skip("this diffusers has no AutoencoderKLKVAE")
    torch.manual_seed(0)
    theirs = diffusers.AutoencoderKLKVAE(**SHAPES[shape]).eval()
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.add_(torch.randn(weight.shape) * 0.02)  # biases of zero would hide what the padding does
    return theirs


@pytest.fixture(scope="module", params=SHAPES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    theirs = theirs_of(request.param)
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    return theirs, folder


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 64), (72, 40), (8, 104)])
def test_equal_to_diffusers(pair: tuple[nn.Module, Path], size: tuple[int, int]) -> None:
    theirs, folder = pair
    ours = load(folder)
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected, posterior = theirs.encode(x).latent_dist, ours.encode(x)
    assert expected.mean.std() > 0.05
    torch.testing.assert_close(posterior.mean, expected.mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(posterior.log_variance, expected.logvar, rtol=1e-4, atol=1e-4)
    image = theirs.decode(expected.mean).sample
    assert image.std() > 0.05
    torch.testing.assert_close(ours.decode(expected.mean), image, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_engine_in_the_least_memory_equals_diffusers(pair: tuple[nn.Module, Path]) -> None:
    theirs, folder = pair
    ours = load(folder)
    x = torch.rand(1, 3, 264, 136, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = theirs.encode(x).latent_dist
    image = theirs.decode(expected.mean).sample
    moments = in_least_memory(ours, lambda engine: engine.encode(x))
    torch.testing.assert_close(moments.mean, expected.mean, rtol=1e-4, atol=1e-4)
    decoded = in_least_memory(ours, lambda engine: engine.decode(expected.mean))
    torch.testing.assert_close(decoded, image, rtol=1e-4, atol=1e-4)


def in_least_memory(vae: VAE, run: Callable[[Engine], Any]) -> Any:
    """What an engine gives in the smallest budget that it accepts."""
    with pytest.raises(TooLittleMemory) as refused:
        run(Engine(vae, Plan(device="cpu", backend="torch", memory=1)))
    return run(Engine(vae, Plan(device="cpu", backend="torch", memory=refused.value.least)))


def test_both_layouts_keep_every_bit_and_diffusers_opens_the_result(
    pair: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    theirs, folder = pair
    save(load(folder), tmp_path / "native.safetensors", "native")
    save(load(tmp_path / "native.safetensors"), tmp_path / "again", "diffusers")
    before, after = load_file(folder / WEIGHTS), load_file(tmp_path / "again" / WEIGHTS)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    again = diffusers.AutoencoderKLKVAE.from_pretrained(tmp_path / "again")
    assert {name: again.config[name] for name in ("channels", "ch_mult", "num_enc_blocks", "num_dec_blocks")} == {
        name: list(value) if isinstance(value := theirs.config[name], tuple) else value
        for name in ("channels", "ch_mult", "num_enc_blocks", "num_dec_blocks")
    }


def test_the_config_is_read_off_the_shapes(pair: tuple[nn.Module, Path], tmp_path: Path) -> None:
    theirs, folder = pair
    tensors = load_file(folder / WEIGHTS)
    config = identify(folder).config
    assert config == detect_kvae({key: tuple(tensor.shape) for key, tensor in tensors.items()})
    widths = tuple(theirs.config.channels * factor for factor in theirs.config.ch_mult)
    blocks = theirs.config.num_enc_blocks, theirs.config.num_dec_blocks + 1
    assert config == KVAEConfig(3, theirs.config.z_channels, widths, widths, *blocks)
    save_file({f"vae.{key}": tensor for key, tensor in tensors.items()}, tmp_path / "behind a prefix.safetensors")
    found = identify(tmp_path / "behind a prefix.safetensors")
    assert (found.family.name, found.config) == ("kvae", config)


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_a_half_is_read_alone(half: str, tmp_path: Path) -> None:
    vae = assemble(family_of("kvae"), KVAEConfig(3, 4, (32, 64), (32, 64), 1, 2))
    tensors = {key: tensor for key, tensor in vae.state_dict().items() if key.startswith(half)}
    save_file(tensors, tmp_path / "half.safetensors")
    found = identify(tmp_path / "half.safetensors")
    assert (found.family.name, found.halves, found.config) == ("kvae", (half,), vae.config)


def test_a_damaged_file_is_refused_as_this_family(tmp_path: Path) -> None:
    tensors = assemble(family_of("kvae"), KVAEConfig(3, 4, (32, 64), (32, 64), 1, 2)).state_dict()
    del tensors["decoder.mid.block_1.norm1.conv_b.weight"]
    save_file(tensors, tmp_path / "damaged.safetensors")
    with refuses(WrongTensors, "kvae", "decoder.mid.block_1.norm1.conv_b.weight"):
        identify(tmp_path / "damaged.safetensors")


@pytest.mark.parametrize(
    ("config", "normalization"),
    [
        (KVAEConfig(3, 4, (32, 64), (64, 64), 1, 2), None),
        (KVAEConfig(3, 4, (64, 96), (64, 96), 1, 2), None),
        (KVAEConfig(3, 4, (32, 64), (32, 64), 1, 2), LatentNormalization((0.0,), (0.5,))),
    ],
)
def test_what_diffusers_cannot_express_is_refused(
    config: KVAEConfig, normalization: LatentNormalization | None
) -> None:
    with refuses(WrongTensors, "AutoencoderKLKVAE"):
        settings(config, normalization)

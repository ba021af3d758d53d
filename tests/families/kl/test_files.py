"""Files of KL autoencoders: names, detection, and the settings of diffusers."""

from dataclasses import replace
from pathlib import Path

import diffusers
import pytest
import torch
from refusals import refuses
from safetensors.torch import load_file, save_file
from shapes_of_configs import assert_names, native_shapes

from vaekit import load, save
from vaekit.errors import WrongTensors
from vaekit.families import layout_of
from vaekit.families.kl.files import FAMILY, detect_kl, settings
from vaekit.families.kl.net import KLConfig
from vaekit.families.normalization import MEAN
from vaekit.identification.identify import identify
from vaekit.normalization import LatentNormalization

CONFIG = KLConfig(3, 4, 4, (32, 64), (32, 64), 1, 2, (1,), (1,), True, True, True, 32)
SHAPES = native_shapes(CONFIG)
SD1 = LatentNormalization((0.0,), (0.18215,))
FLUX2 = LatentNormalization((0.0,), (0.5,), 2)
KEYS = "decoder.up.0.block.1.conv1.weight", "encoder.mid.attn_1.q.weight", "encoder.quant_conv.bias"


@pytest.mark.parametrize("half", ["", "encoder", "decoder"])
def test_the_config_is_read_off_either_half(half: str) -> None:
    assert detect_kl({key: shape for key, shape in SHAPES.items() if key.startswith(half)}) == CONFIG
    assert detect_kl({}) is None


@pytest.mark.parametrize(
    ("name", "foreign"),
    [
        ("native", KEYS),
        ("ldm", (*KEYS[:2], "quant_conv.bias")),
        (
            "diffusers",
            (
                "decoder.up_blocks.1.resnets.1.conv1.weight",
                "encoder.mid_block.attentions.0.to_q.weight",
                "quant_conv.bias",
            ),
        ),
        (
            "diffusers-old",
            (
                "decoder.up_blocks.1.resnets.1.conv1.weight",
                "encoder.mid_block.attentions.0.query.weight",
                "quant_conv.bias",
            ),
        ),
    ],
)
def test_names(name: str, foreign: tuple[str, ...]) -> None:
    layout = layout_of(name, "kl")
    assert layout is not None
    assert_names(layout, CONFIG, dict(zip(KEYS, foreign, strict=True)))
    assert layout.is_matrix(KEYS[1]) == name.startswith("diffusers")
    assert layout.to_native(MEAN, 2) == MEAN


@pytest.mark.parametrize(
    ("half", "other"), [("encoder", "down.0.block.0.conv1.weight"), ("decoder", "up.0.block.0.conv1.weight")]
)
def test_a_half_without_its_own_prefix(half: str, other: str) -> None:
    layout = layout_of(f"bare-{half}", "kl")
    assert layout is not None and layout.half == half
    assert_names(layout, CONFIG, {f"{half}.{other}": other})
    keys = [key.removeprefix(f"{half}.") for key in SHAPES if key.startswith(half)]
    assert layout.prefixes(keys) == {"": len(keys)}
    assert layout.prefixes(["down.0.block.0.conv1.weight", "up.0.block.0.conv1.weight"]) == {}
    assert layout.prefixes([f"vae.{key}" for key in keys]) == {}


def test_settings_of_autoencoder_kl() -> None:
    result = settings(CONFIG, SD1)
    assert result["_class_name"] == "AutoencoderKL"
    assert (result["latent_channels"], result["scaling_factor"], result["shift_factor"]) == (4, 0.18215, None)
    assert result["use_quant_conv"] and result["use_post_quant_conv"] and result["mid_block_add_attention"]
    without = settings(replace(CONFIG, quant_conv=False, post_quant_conv=False), None)
    assert not without["use_quant_conv"] and not without["use_post_quant_conv"]
    assert without["scaling_factor"] is None
    with refuses(WrongTensors, "AutoencoderKL"):
        settings(replace(CONFIG, hidden_channels=8), SD1)


def test_settings_of_flux2_have_the_widths_of_the_decoder() -> None:
    result = settings(replace(CONFIG, decoder_widths=(96, 32)), FLUX2)
    assert result["_class_name"] == "AutoencoderKLFlux2"
    assert (result["block_out_channels"], result["decoder_block_out_channels"]) == ([32, 64], [96, 32])
    assert (result["batch_norm_eps"], result["patch_size"]) == (1e-4, [2, 2])
    assert "scaling_factor" not in result
    with refuses(WrongTensors, "AutoencoderKL"):
        settings(replace(CONFIG, decoder_widths=(96, 32)), SD1)


def test_statistics_stand_beside_the_weights_of_flux2_alone() -> None:
    assert torch.equal(FAMILY.normalization_tensors_for(CONFIG, FLUX2)[MEAN], torch.zeros(16))
    assert FAMILY.normalization_tensors_for(CONFIG, SD1) == {}
    assert FAMILY.paddings == ("zeros", "reflect")


@torch.no_grad()
@pytest.mark.parametrize("statistics", [True, False])
def test_the_small_decoder_of_flux2_as_a_bare_file(tmp_path: Path, statistics: bool) -> None:
    """Its published file `small_decoder.safetensors` holds the decoder alone, without the prefix "decoder."."""
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    widths = {"block_out_channels": (64, 128), "decoder_block_out_channels": (32, 96)}
    theirs = diffusers.AutoencoderKLFlux2(**widths, **blocks, layers_per_block=1).eval()
    theirs.bn.running_mean.copy_(torch.randn(128))
    theirs.save_pretrained(tmp_path / "whole")
    save(load(tmp_path / "whole"), tmp_path / "whole.safetensors", "native")
    native = load_file(tmp_path / "whole.safetensors")
    kept = ("decoder.", "bn.") if statistics else ("decoder.",)
    bare = {key.removeprefix("decoder."): tensor for key, tensor in native.items() if key.startswith(kept)}
    save_file(bare, tmp_path / "small_decoder.safetensors")
    identified = identify(tmp_path / "small_decoder.safetensors")
    assert (identified.layout, identified.halves) == ("bare-decoder", ("decoder",))
    assert identified.config.decoder_widths == (32, 96)
    ours = load(tmp_path / "small_decoder.safetensors")
    assert (ours.normalization is not None) == statistics
    z = torch.randn(1, 32, 5, 6)
    assert (ours.decode(z) - theirs.decode(z).sample).abs().max() <= 1e-4

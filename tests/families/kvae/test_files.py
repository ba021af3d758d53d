"""Files of KVAE: names, detection, and the settings of diffusers."""

from pathlib import Path

import diffusers
import pytest
import torch
from refusals import refuses
from safetensors.torch import load_file, save_file
from shapes_of_configs import assert_names, native_shapes
from torch import nn

from vaekit import load, save
from vaekit.errors import WrongTensors
from vaekit.families import Layout, assemble, family_of
from vaekit.families.kl.net import KLConfig
from vaekit.families.kvae.files import LAYOUTS, detect_kvae, settings
from vaekit.families.kvae.net import KVAEConfig
from vaekit.identification.identify import identify
from vaekit.normalization import LatentNormalization

WEIGHTS = "diffusion_pytorch_model.safetensors"


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


CONFIG = KVAEConfig(3, 4, (32, 64), (64, 64), 1, 2)
SHAPES = native_shapes(CONFIG)


def test_the_config_is_read_off_either_half() -> None:
    assert detect_kvae(SHAPES) == CONFIG
    encoder = {key: shape for key, shape in SHAPES.items() if key.startswith("encoder")}
    assert detect_kvae(encoder) == KVAEConfig(3, 4, (32, 64), (32, 64), 1, 2)
    decoder = {key: shape for key, shape in SHAPES.items() if key.startswith("decoder")}
    assert detect_kvae(decoder) == KVAEConfig(3, 4, (64, 64), (64, 64), 1, 2)


def test_near_misses_are_none() -> None:
    """LDM's own nets have the same skeleton; and 32 groups divide every width."""
    assert detect_kvae({}) is None
    plain = KLConfig(3, 4, 4, (32, 64), (32, 64), 1, 2, (), (), False, False, False, 32)
    assert detect_kvae(native_shapes(plain)) is None
    assert detect_kvae(SHAPES | {"encoder.down.0.block.0.conv1.weight": (40, 32, 3, 3)}) is None


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_names_are_the_native_ones(layout: Layout) -> None:
    keys = "encoder.down.0.downsample.linear.weight", "decoder.up.1.block.1.norm2.conv_b.bias", "encoder.norm_out.bias"
    assert_names(layout, CONFIG, {key: key for key in keys})


def test_settings_of_diffusers() -> None:
    result = settings(KVAEConfig(3, 4, (32, 96), (32, 96), 1, 3), None)
    assert result["_class_name"] == "AutoencoderKLKVAE"
    assert (result["channels"], result["ch_mult"], result["z_channels"]) == (32, [1, 3], 4)
    assert (result["num_enc_blocks"], result["num_dec_blocks"]) == (1, 2)

"""Files of Mochi: names, detection, and the settings of diffusers."""

from dataclasses import replace
from pathlib import Path

import pytest
from one_frame import check_equal, check_layouts, half_of
from refusals import refuses
from shapes_of_configs import assert_names, native_shapes
from torch import nn

from vaekit import load
from vaekit.errors import WrongTensors
from vaekit.families import layout_of
from vaekit.families.mochi.files import decoder_factors, detect_mochi, paths_of, settings, widths_of
from vaekit.families.mochi.net import MochiConfig
from vaekit.normalization import LatentNormalization

CONFIG = MochiConfig(
    3, 4, (32, 64, 32), (1, 2, 1, 1), (False, True, False, True), (96, 64, 32), (1, 1, 2, 1), ((1, 2), (3, 2))
)
SHAPES = native_shapes(CONFIG)


def test_all_layouts_keep_every_bit_and_diffusers_opens_the_result(
    pair: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    theirs, folder = pair
    opened = check_layouts(folder, tmp_path, ("native",), "AutoencoderKLMochi")
    check_equal(load(tmp_path / "native.safetensors"), opened, 32, 40)
    std = theirs.config.latents_std
    assert load(folder).normalization == LatentNormalization.from_mean_and_std(theirs.config.latents_mean, std)


def test_the_config_is_read_off_the_shapes() -> None:
    assert detect_mochi(SHAPES) == CONFIG


def test_a_half_is_mirrored_with_its_own_widths() -> None:
    encoder, decoder = (detect_mochi(half_of(SHAPES, half)) for half in ("encoder", "decoder"))
    assert encoder == replace(CONFIG, decoder_widths=(32, 64, 32))
    assert decoder == replace(CONFIG, encoder_widths=(32, 64, 96), encoder_attention=(False, True, True, True))


def test_near_misses_are_none() -> None:
    assert detect_mochi({}) is None
    assert detect_mochi(SHAPES | {"encoder.block_in.block.0.norm1.weight": (40,)}) is None
    assert widths_of({}, "encoder") == ()
    assert decoder_factors({}, (64, 32)) == ()
    assert paths_of("decoder", 1) == ["decoder.block_in", "decoder.levels.0", "decoder.block_out"]


KEYS = (
    "encoder.levels.0.attn.1.norm.weight",
    "encoder.levels.0.conv_in.bias",
    "encoder.levels.0.attn.0.proj_out.bias",
    "decoder.levels.1.block.0.norm1.weight",
    "decoder.levels.1.proj.weight",
)


@pytest.mark.parametrize(
    ("name", "foreign"),
    [
        ("native", KEYS),
        (
            "diffusers",
            (
                "encoder.down_blocks.0.norms.1.norm_layer.weight",
                "encoder.down_blocks.0.conv_in.conv.bias",
                "encoder.down_blocks.0.attentions.0.to_out.0.bias",
                "decoder.up_blocks.1.resnets.0.norm1.norm_layer.weight",
                "decoder.up_blocks.1.proj.weight",
            ),
        ),
    ],
)
def test_names(name: str, foreign: tuple[str, ...]) -> None:
    layout = layout_of(name, "mochi")
    assert layout is not None
    assert_names(layout, CONFIG, dict(zip(KEYS, foreign, strict=True)))


def test_what_diffusers_cannot_express_is_refused() -> None:
    with refuses(WrongTensors, "AutoencoderKLMochi"):
        settings(replace(CONFIG, decoder_blocks=(1, 1, 1, 1)), None)

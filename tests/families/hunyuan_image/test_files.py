"""Files of HunyuanImage autoencoders: names, detection, and the settings of diffusers."""

from dataclasses import replace

import pytest
from refusals import refuses
from shapes_of_configs import assert_names, native_shapes

from vaekit.errors import WrongTensors
from vaekit.families import layout_of
from vaekit.families.hunyuan_image.files import can_be_built, detect_hunyuan_image, over_images, settings
from vaekit.families.hunyuan_image.net import HunyuanImageConfig
from vaekit.families.kl.net import KLConfig
from vaekit.normalization import LatentNormalization

CONFIG = HunyuanImageConfig(3, 4, (32, 64, 64), (64, 64, 32), 1, 2)
SHAPES = native_shapes(CONFIG)
FACTOR = LatentNormalization((0.0,), (0.75289,))


@pytest.mark.parametrize("half", ["", "encoder", "decoder"])
def test_the_config_is_read_off_either_half(half: str) -> None:
    shapes = {key: shape for key, shape in SHAPES.items() if key.startswith(half)}
    assert detect_hunyuan_image(shapes) == CONFIG


def test_kernels_may_have_a_slice_in_time() -> None:
    assert over_images((8, 4, 1, 3, 3)) == (8, 4, 3, 3)
    assert over_images((8, 4, 3, 3, 3)) == (8, 4, 3, 3, 3)
    deep = {key: (*shape[:2], 1, *shape[2:]) if len(shape) == 4 else shape for key, shape in SHAPES.items()}
    assert detect_hunyuan_image(deep) == CONFIG


def test_a_kl_autoencoder_with_the_same_names_is_none() -> None:
    """Its layers between levels keep the width."""
    shapes = native_shapes(KLConfig(3, 4, 4, (32, 64), (32, 64), 1, 2, (), (), True, False, False, 32))
    swap = {".down.": ".levels.", ".up.": ".levels.", ".downsample.": ".resample.", ".upsample.": ".resample."}
    renamed = {}
    for key, shape in shapes.items():
        for old, new in swap.items():
            key = key.replace(old, new)
        renamed[key] = shape
    assert "encoder.levels.0.resample.conv.weight" in renamed
    assert detect_hunyuan_image(renamed) is None


@pytest.mark.parametrize(
    "config",
    [
        replace(CONFIG, encoder_widths=(32, 96, 64)),
        replace(CONFIG, decoder_widths=(64, 96, 32)),
        replace(CONFIG, latent_channels=5),
        replace(CONFIG, encoder_widths=(16, 64, 64)),
    ],
)
def test_channels_that_cannot_be_divided(config: HunyuanImageConfig) -> None:
    assert can_be_built(CONFIG)
    assert not can_be_built(config)


KEYS = "encoder.levels.1.resample.conv.weight", "decoder.levels.1.block.0.conv1.weight", "encoder.mid.attn_1.q.bias"


@pytest.mark.parametrize(
    ("name", "down", "block", "query"),
    [
        ("native", *KEYS),
        ("original", "encoder.down.1.downsample.conv.weight", "decoder.up.1.block.0.conv1.weight", KEYS[2]),
        (
            "diffusers",
            "encoder.down_blocks.3.conv.weight",
            "decoder.up_blocks.3.conv1.weight",
            "encoder.mid_block.attentions.0.to_q.bias",
        ),
    ],
)
def test_names(name: str, down: str, block: str, query: str) -> None:
    layout = layout_of(name, "hunyuan-image")
    assert layout is not None
    assert_names(layout, CONFIG, dict(zip(KEYS, (down, block, query), strict=True)))


def test_settings_of_diffusers() -> None:
    result = settings(CONFIG, FACTOR)
    assert result["_class_name"] == "AutoencoderKLHunyuanImage"
    assert result["block_out_channels"] == [32, 64, 64]
    assert (result["layers_per_block"], result["latent_channels"]) == (1, 4)
    assert (result["spatial_compression_ratio"], result["scaling_factor"]) == (4, 0.75289)
    assert settings(CONFIG, None)["scaling_factor"] is None


@pytest.mark.parametrize(
    ("config", "normalization"),
    [
        (replace(CONFIG, decoder_widths=(64, 32, 32)), None),
        (replace(CONFIG, decoder_blocks=3), None),
        (CONFIG, LatentNormalization((0.5,), (1.0,))),
        (CONFIG, LatentNormalization((0.0,), (1.0, 2.0, 3.0, 4.0))),
    ],
)
def test_what_diffusers_cannot_express_is_refused(
    config: HunyuanImageConfig, normalization: LatentNormalization | None
) -> None:
    with refuses(WrongTensors, "AutoencoderKLHunyuanImage", '"original" or "native"'):
        settings(config, normalization)

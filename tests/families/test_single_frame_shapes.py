"""Detection and names shared by the nets over equal frames."""

import pytest
from one_frame import half_of
from refusals import refuses
from shapes_of_configs import native_shapes

from vaekit.errors import UnknownVAE
from vaekit.families.hunyuan_video.net import HunyuanVideoConfig
from vaekit.families.single_frame_shapes import (
    half_shape,
    has_kernels_over_time,
    image_channels,
    latent_channels,
    residual_names,
    video_fields,
    with_published_groups,
)

CONFIG = HunyuanVideoConfig(3, 4, (32, 64, 96), (96, 64, 32), 1, 2, True)
SHAPES = native_shapes(CONFIG)


def test_fields_are_read_off_either_half() -> None:
    expected = {
        "image_channels": 3,
        "latent_channels": 4,
        "encoder_widths": (32, 64, 96),
        "decoder_widths": (96, 64, 32),
        "encoder_blocks": 1,
        "decoder_blocks": 2,
    }
    for shapes in (SHAPES, half_of(SHAPES, "encoder"), half_of(SHAPES, "decoder")):
        assert video_fields(shapes) == expected
    assert half_shape(half_of(SHAPES, "encoder"), "decoder") == ((), 0)


def test_without_levels_channels_or_time_there_are_none() -> None:
    assert video_fields({}) is None
    assert video_fields({key: shape for key, shape in SHAPES.items() if ".levels." not in key}) is None
    flat = {key: (*shape[:2], *shape[3:]) if len(shape) == 5 else shape for key, shape in SHAPES.items()}
    assert not has_kernels_over_time(flat)
    assert video_fields(flat) is None


def test_channels_are_read_off_what_is_there() -> None:
    assert image_channels({"decoder.conv_out.bias": (4,)}) == 4
    assert latent_channels({"encoder.conv_out.bias": (32,)}) == 16
    assert image_channels({}) is None
    assert latent_channels({}) is None


def test_the_published_number_of_groups_is_the_only_one() -> None:
    assert with_published_groups(CONFIG, {}, {"norm_num_groups": 32}) is CONFIG
    with refuses(UnknownVAE, "8 norm groups"):
        with_published_groups(CONFIG, {}, {"norm_num_groups": 8})


@pytest.mark.parametrize("shortcut", ["conv_shortcut", "nin_shortcut.conv"])
def test_names_of_a_residual_block(shortcut: str) -> None:
    rules = dict(residual_names("a", "b", {"norm1.gamma": "norm.gamma"}, shortcut))
    assert rules == {
        "a.norm1.gamma": "b.norm.gamma",
        "a.conv1.{p}": "b.conv1.conv.{p}",
        "a.conv2.{p}": "b.conv2.conv.{p}",
        "a.nin_shortcut.{p}": f"b.{shortcut}.{{p}}",
    }

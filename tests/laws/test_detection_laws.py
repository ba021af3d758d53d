"""Config -> network -> names and shapes -> the same config, in every layout, order, prefix and half."""

import dataclasses
import itertools
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from vaekit.checkpoints.families import FAMILIES, LAYOUTS, Config, Layout, Shapes, assemble, family_of, family_with
from vaekit.checkpoints.formats.files import TensorFile, TensorSpec
from vaekit.checkpoints.identify import identify
from vaekit.checkpoints.locate import locate
from vaekit.nets import tiny
from vaekit.nets.hunyuan_image import HunyuanImageConfig
from vaekit.nets.kl import KLConfig
from vaekit.nets.tiny import TinyConfig
from vaekit.nets.vq import VQConfig
from vaekit.nets.wan import WanConfig
from vaekit.nets.wan22 import Wan22Config

SD = (128, 256, 512, 512)
F4, F16, F32 = (128, 256, 512), (128, 128, 256, 256, 512), (128, 128, 256, 256, 512, 512)
QWEN = (96, 192, 384, 768, 768)
HUNYUAN = (128, 256, 512, 512, 1024, 1024)
PREFIXES = ("", "first_stage_model.", "vae.", "autoencoder.", "some.odd.prefix.")


def kl(
    channels: int,
    widths: tuple[int, ...],
    blocks: int = 2,
    attention: tuple[int, ...] = (),
    mid: bool = True,
    quant: bool = True,
) -> KLConfig:
    return KLConfig(
        3, channels, channels, widths, widths, blocks, blocks + 1, attention, attention, mid, quant, quant, 32
    )


def vq(channels: int, widths: tuple[int, ...], codes: int, *, mid: bool = True, **changes: Any) -> VQConfig:
    attention = changes.pop("attention", ())
    fields = dataclasses.asdict(kl(channels, widths, attention=attention, mid=mid)) | changes
    return VQConfig(**fields, codes=codes)


PUBLISHED: dict[str, Config] = {
    "SD1 and SDXL": kl(4, SD),
    "SD3 and FLUX.1": kl(16, SD, quant=False),
    "CogView4": kl(16, (128, 512, 1024, 1024), blocks=3, mid=False, quant=False),
    "FLUX.2": kl(32, SD),
    "x4 upscaler": kl(4, F4),
    "LDM kl-f4": kl(3, F4),
    "LDM kl-f16": kl(16, F16, attention=(4,)),
    "LDM kl-f32": kl(64, F32, attention=(4, 5)),
    "FLUX.2 small decoder": dataclasses.replace(kl(32, SD), decoder_widths=(96, 192, 384, 384)),
    "embedding narrower than z": dataclasses.replace(kl(4, SD), hidden_channels=16),
    "LDM vq-f4": vq(3, F4, 8192),
    "LDM vq-f4-noattn": vq(3, F4, 8192, mid=False),
    "LDM vq-f8": vq(4, (128, 256, 256, 512), 16384, attention=(3,)),
    "LDM vq-f8-n256": vq(4, (128, 256, 256, 512), 256, attention=(3,)),
    "LDM vq-f16": vq(8, F16, 16384, attention=(4,)),
    "VQ with a wider z": vq(4, F4, 1024, hidden_channels=256),
    "Wan 2.1 and Qwen-Image": WanConfig(3, 16, (96, 192, 384, 384), (384, 384, 192, 96), 2, 3, (1, 2), True),
    "Qwen2D": WanConfig(3, 16, (96, 192, 384, 384), (384, 384, 192, 96), 2, 3, (), False),
    "Wan 2.1 with a quarter of the width": WanConfig(3, 16, (24, 48, 96, 96), (96, 96, 48, 24), 2, 3, (1, 2), True),
    "Wan 2.2": Wan22Config(3, 48, (160, 320, 640, 640), (1024, 1024, 512, 256), 2, 3, (1, 2), True, 2),
    "Qwen-Image 2.1": Wan22Config(4, 64, QWEN, (1152, 1152, 576, 288, 144), 2, 3, (1, 2, 3), False, 1),
    "HunyuanImage 2.1": HunyuanImageConfig(3, 64, HUNYUAN, HUNYUAN[::-1], 2, 3),
    "TAESD": TinyConfig(3, 4, 64, (1, 3, 3, 3), (3, 3, 3, 1), False),
    "TAESD3 and TAEF1": TinyConfig(3, 16, 64, (1, 3, 3, 3), (3, 3, 3, 1), False),
    "TAEF2": TinyConfig(3, 32, 64, (1, 3, 3, 3), (3, 3, 3, 1), True),
}

UNLIKE_HALVES = ("FLUX.2 small decoder", "Wan 2.2", "Qwen-Image 2.1")
"""One half does not tell the other's widths."""


def family_name(config: Config) -> str:
    family = family_with(config)
    assert family is not None
    return family.name


def native_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        vae = assemble(family_of(family_name(config)), config)
    return {key: tuple(tensor.shape) for key, tensor in vae.state_dict().items()}


def in_layout(layout: Layout, shapes: Shapes, prefix: str = "") -> dict[str, tuple[int, ...]]:
    levels = layout.native_levels(shapes)
    return {f"{prefix}{layout.from_native(key, levels)}": shape for key, shape in shapes.items()}


def detected(shapes: Shapes, seed: int = 0) -> tuple[Config | None, dict[str, tuple[int, ...]]]:
    """What the detectors say of a file with these names and shapes, in some order; and the native shapes found."""
    names = list(shapes)
    random.Random(seed).shuffle(names)
    specs = {name: TensorSpec(shapes[name], torch.float32) for name in names}
    found = locate(TensorFile(Path("any-name"), "safetensors", {}, specs, lambda _: {}))
    native = {key: found.spec(key).shape for key in found.names}
    return family_of(found.layout.family).detect(native), native


def layouts_for(config: Config) -> Iterable[Layout]:
    return (layout for layout in LAYOUTS if layout.family == family_name(config) and not layout.half)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configs_are_read_off_their_shapes(name: str) -> None:
    config = PUBLISHED[name]
    shapes = native_shapes(config)
    for layout in layouts_for(config):
        for seed, prefix in enumerate(PREFIXES):
            assert detected(in_layout(layout, shapes, prefix), seed) == (config, shapes)


@pytest.mark.parametrize("name", PUBLISHED)
def test_exactly_one_family_says_yes(name: str) -> None:
    shapes = native_shapes(PUBLISHED[name])
    assert [family.name for family in FAMILIES if family.detect(shapes)] == [family_name(PUBLISHED[name])]


def families_for(names: Shapes) -> set[str]:
    """The families whose detectors say yes to a file, by any of their layouts that knows all of its names."""
    said = set()
    for layout in LAYOUTS:
        levels = layout.levels(names)
        native = {layout.to_native(name, levels): shape for name, shape in names.items()}
        known = {key: shape for key, shape in native.items() if key is not None}
        if len(known) == len(names) and family_of(layout.family).detect(known):
            said.add(layout.family)
    return said


@pytest.mark.parametrize("half", ["", "encoder", "decoder"])
@pytest.mark.parametrize("name", [name for name in PUBLISHED if "VQ" not in name and "vq" not in name])
def test_exactly_one_family_says_yes_to_a_file(name: str, half: str) -> None:
    """Two families may have the same names: those of HunyuanImage are LDM's, and it has kl-f32's 64 channels."""
    shapes = {key: shape for key, shape in native_shapes(PUBLISHED[name]).items() if key.startswith(half)}
    for layout in layouts_for(PUBLISHED[name]):
        assert families_for(in_layout(layout, shapes)) == {family_name(PUBLISHED[name])}


@pytest.mark.parametrize("half", ["encoder", "decoder"])
@pytest.mark.parametrize("name", [name for name in PUBLISHED if name not in UNLIKE_HALVES])
def test_a_half_is_recognised_and_mirrored(name: str, half: str) -> None:
    config = PUBLISHED[name]
    shapes = {key: shape for key, shape in native_shapes(config).items() if key.startswith((half, "to_posterior"))}
    for layout in layouts_for(config):
        assert detected(in_layout(layout, shapes, "vae.")) == (config, shapes)


HAVE_BARE_HALVES = ("kl", "tiny")


@pytest.mark.parametrize("half", ["encoder", "decoder"])
@pytest.mark.parametrize(
    "name",
    [
        name
        for name, config in PUBLISHED.items()
        if name not in UNLIKE_HALVES and family_name(config) in HAVE_BARE_HALVES
    ],
)
def test_a_half_without_its_own_prefix_is_recognised(name: str, half: str) -> None:
    shapes = {key: shape for key, shape in native_shapes(PUBLISHED[name]).items() if key.startswith(half)}
    bare = {key.removeprefix(half + "."): shape for key, shape in shapes.items()}
    assert detected(bare) == (PUBLISHED[name], shapes)


@st.composite
def kl_fields(draw: st.DrawFn) -> dict[str, Any]:
    levels = draw(st.integers(1, 11))
    widths = st.lists(st.sampled_from((32, 64, 96)), min_size=levels, max_size=levels).map(tuple)
    attention = st.lists(st.integers(0, levels - 1), unique=True, max_size=2).map(lambda drawn: tuple(sorted(drawn)))
    latent, hidden = draw(st.integers(1, 64)), draw(st.integers(1, 64))
    quant, post_quant = draw(st.booleans()), draw(st.booleans())
    return {
        "image_channels": draw(st.integers(1, 4)),
        "latent_channels": latent,
        "hidden_channels": hidden if quant and post_quant else latent,
        "encoder_widths": draw(widths),
        "decoder_widths": draw(widths),
        "encoder_blocks": draw(st.integers(1, 3)),
        "decoder_blocks": draw(st.integers(1, 4)),
        "encoder_attention": draw(attention),
        "decoder_attention": draw(attention),
        "mid_attention": draw(st.booleans()),
        "quant_conv": quant,
        "post_quant_conv": post_quant,
        "norm_groups": 32,
    }


tiny_fields = st.fixed_dictionaries(
    {
        "image_channels": st.integers(1, 4),
        "latent_channels": st.integers(1, 64),
        "width": st.sampled_from((4, 16, 64)),
        "encoder_blocks": st.lists(st.integers(1, 4), min_size=2, max_size=12).map(tuple),
        "decoder_blocks": st.lists(st.integers(1, 4), min_size=2, max_size=12).map(tuple),
        "pool": st.booleans(),
    }
)


@st.composite
def hunyuan_fields(draw: st.DrawFn) -> dict[str, Any]:
    base, steps = draw(st.sampled_from((32, 96))), draw(st.lists(st.integers(0, 1), min_size=1, max_size=7))
    widths = [base * 2**doublings for doublings in itertools.accumulate(steps, initial=0)]
    return {
        "image_channels": draw(st.integers(1, 4)),
        "latent_channels": draw(st.sampled_from((1, 4, 16))),
        "encoder_widths": tuple(widths),
        "decoder_widths": tuple(reversed(widths)),
        "encoder_blocks": draw(st.integers(1, 3)),
        "decoder_blocks": draw(st.integers(1, 4)),
    }


@settings(max_examples=8, deadline=None)
@given(hunyuan_fields(), st.sampled_from(PREFIXES), st.integers())
def test_any_hunyuan_image_config_is_read_off_its_shapes(fields: dict[str, Any], prefix: str, seed: int) -> None:
    check_any(HunyuanImageConfig(**fields), prefix, seed)


@st.composite
def wan_fields(draw: st.DrawFn) -> dict[str, Any]:
    levels, blocks = draw(st.integers(2, 11)), draw(st.integers(1, 3))
    widths = draw(st.lists(st.sampled_from((8, 16, 24)), min_size=levels, max_size=levels).map(tuple))
    times = draw(st.lists(st.integers(0, levels - 2), unique=True))
    return {
        "image_channels": draw(st.integers(1, 4)),
        "latent_channels": draw(st.integers(1, 64)),
        "encoder_widths": widths,
        "decoder_widths": tuple(2 * width for width in reversed(widths)),
        "encoder_blocks": blocks,
        "decoder_blocks": draw(st.integers(1, 4)),
        "time_levels": tuple(sorted(times)),
        "temporal": draw(st.booleans()),
    }


@settings(max_examples=8, deadline=None)
@given(wan_fields(), st.sampled_from(PREFIXES), st.integers())
def test_any_wan_config_is_read_off_its_shapes(fields: dict[str, Any], prefix: str, seed: int) -> None:
    check_any(WanConfig(**fields), prefix, seed)


@settings(max_examples=8, deadline=None)
@given(wan_fields(), st.sampled_from(PREFIXES), st.sampled_from((1, 2)), st.integers())
def test_any_wan_2_2_config_is_read_off_its_shapes(fields: dict[str, Any], prefix: str, patch: int, seed: int) -> None:
    levels = len(fields["encoder_widths"])
    doubled = [8 * 2 ** min(i, 3, levels - 2) for i in range(levels)]  # the last level cannot widen
    widths = {"encoder_widths": tuple(doubled), "decoder_widths": tuple(3 * width for width in reversed(doubled))}
    check_any(Wan22Config(**fields | widths | {"image_channels": 3}, patch=patch), prefix, seed)


@settings(max_examples=8, deadline=None)
@given(kl_fields(), st.sampled_from(PREFIXES), st.integers())
def test_any_kl_config_is_read_off_its_shapes(fields: dict[str, Any], prefix: str, seed: int) -> None:
    check_any(KLConfig(**fields), prefix, seed)


@settings(max_examples=8, deadline=None)
@given(kl_fields(), st.integers(1, 5000), st.sampled_from(PREFIXES), st.integers())
def test_any_vq_config_is_read_off_its_shapes(fields: dict[str, Any], codes: int, prefix: str, seed: int) -> None:
    check_any(VQConfig(**fields, codes=codes), prefix, seed)


@settings(max_examples=8, deadline=None)
@given(tiny_fields, st.sampled_from(PREFIXES), st.integers())
def test_any_tiny_config_is_read_off_its_shapes(fields: dict[str, Any], prefix: str, seed: int) -> None:
    check_any(TinyConfig(**fields), prefix, seed)


def check_any(config: Config, prefix: str, seed: int) -> None:
    shapes = native_shapes(config)
    for layout in layouts_for(config):
        assert detected(in_layout(layout, shapes, prefix), seed) == (config, shapes)


@pytest.mark.parametrize("name", ["taesd_decoder.safetensors", "flux.safetensors", "vae-ft-mse.ckpt", "no_ending"])
def test_file_names_never_matter(name: str, tmp_path: Path) -> None:
    _, decoder = tiny.build(TinyConfig(3, 4, 64, (1, 3, 3, 3), (3, 3, 3, 1), False))
    save_file(dict(decoder.state_dict()), tmp_path / name)
    identified = identify(tmp_path / name)
    assert (identified.family.name, identified.layout, identified.halves) == ("tiny", "tiny-decoder", ("decoder",))
    assert identified.config == PUBLISHED["TAESD"]
    assert [kind.name for kind in identified.kinds] == ["TAESD (latents of SD1 or SDXL)"]

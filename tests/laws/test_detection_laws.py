"""Config -> network -> names and shapes -> the same config, in every layout, order, prefix and half."""

import dataclasses
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
from vaekit.checkpoints.fused import join_parts
from vaekit.checkpoints.identify import identify
from vaekit.checkpoints.locate import locate
from vaekit.nets import tiny
from vaekit.nets.dcae import DCAEConfig
from vaekit.nets.kl import KLConfig
from vaekit.nets.tiny import TinyConfig
from vaekit.nets.vq import VQConfig

SD = (128, 256, 512, 512)
F4, F16, F32 = (128, 256, 512), (128, 128, 256, 256, 512), (128, 128, 256, 256, 512, 512)
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


def dcae(channels: int, encoder: tuple[int, ...], decoder: tuple[int, ...], **changes: Any) -> DCAEConfig:
    """The in and mix models but for what is changed. An empty first stage repeats the width of the second."""
    stages = len(encoder)
    deep = (512, 512, 1024, 1024, *changes.pop("deeper", ()))
    fields: dict[str, Any] = {
        "image_channels": 3,
        "latent_channels": channels,
        "encoder_widths": (128 if encoder[0] else 256, 256, *deep),
        "decoder_widths": (128 if decoder[0] else 256, 256, *deep),
        "encoder_blocks": encoder,
        "decoder_blocks": decoder,
        "encoder_attention": tuple(range(3, stages)),
        "decoder_attention": tuple(range(3, stages)),
        "encoder_scales": ((),) * stages,
        "decoder_scales": ((),) * stages,
        "decoder_batch_norm": (1, 2),
        "downsample": "pixel_unshuffle",
        "upsample": "pixel_shuffle",
        "head_width": 32,
        "decoder_relu": (1, 2),
        "decoder_out_activation": "relu",
        "encoder_out_shortcut": True,
        "decoder_in_shortcut": True,
    }
    return DCAEConfig(**fields | changes)


FIVES: dict[str, Any] = {"encoder_scales": ((), (), (), (5,), (5,), (5,)), "downsample": "conv"}
SANA: dict[str, Any] = FIVES | {"decoder_batch_norm": (), "decoder_relu": ()}
RESIDUAL: dict[str, Any] = {"decoder_attention": (), "decoder_batch_norm": (), "decoder_relu": ()}
RESIDUAL |= {"decoder_out_activation": "silu"}
BARE: dict[str, Any] = RESIDUAL | {"encoder_attention": (), "encoder_out_shortcut": False, "decoder_in_shortcut": False}

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
    "DC-AE Sana": dcae(
        32,
        (2, 2, 2, 3, 3, 3),
        (3, 3, 3, 3, 3, 3),
        **SANA | {"decoder_scales": FIVES["encoder_scales"], "upsample": "interpolate"},
    ),
    "DC-AE Lite": dcae(32, (2, 2, 2, 3, 3, 3), (0, 3, 5, 4, 4, 4), **FIVES | RESIDUAL),
    "DC-AE f32c32": dcae(32, (0, 4, 8, 2, 2, 2), (0, 5, 10, 2, 2, 2)),
    "DC-AE f64c128": dcae(128, (0, 4, 8, 2, 2, 2, 2), (0, 5, 10, 2, 2, 2, 2), deeper=(2048,)),
    "DC-AE f128c512": dcae(512, (0, 4, 8, 2, 2, 2, 2, 2), (0, 5, 10, 2, 2, 2, 2, 2), deeper=(2048, 2048)),
    "DC-AE 1.5 f32c128": dcae(128, (0, 5, 10, 4, 4, 4), (0, 5, 10, 4, 4, 4), **BARE),
    "DC-AE 1.5 f64c128": dcae(128, (0, 5, 10, 4, 4, 4, 4), (0, 5, 10, 4, 4, 4, 4), **BARE | {"deeper": (1024,)}),
    "TAESD": TinyConfig(3, 4, 64, (1, 3, 3, 3), (3, 3, 3, 1), False),
    "TAESD3 and TAEF1": TinyConfig(3, 16, 64, (1, 3, 3, 3), (3, 3, 3, 1), False),
    "TAEF2": TinyConfig(3, 32, 64, (1, 3, 3, 3), (3, 3, 3, 1), True),
}


NOT_MIRRORED = ("FLUX.2 small decoder", "DC-AE Lite", "DC-AE f32c32", "DC-AE f64c128", "DC-AE f128c512")
"""Published models whose halves differ in what one half cannot tell of the other."""
MIRRORED = [name for name in PUBLISHED if name not in NOT_MIRRORED]


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
    named = {f"{prefix}{layout.from_native(key, levels)}": shape for key, shape in shapes.items()}
    with torch.device("meta"):
        joined = join_parts({name: torch.empty(shape) for name, shape in named.items()})
    return {name: tuple(tensor.shape) for name, tensor in joined.items()}


def detected(shapes: Shapes, seed: int = 0) -> tuple[Config | None, dict[str, tuple[int, ...]]]:
    """What the detectors say of a file with these names and shapes, in some order; and the native shapes found."""
    names = list(shapes)
    random.Random(seed).shuffle(names)
    specs = {name: TensorSpec(shapes[name], torch.float32) for name in names}
    found = locate(TensorFile(Path("any-name"), "safetensors", {}, specs, lambda _: {}))
    native = {key: found.spec(key).shape for key in found.names}
    return family_of(found.layout.family).detect(native), native


def layouts_for(config: Config) -> Iterable[Layout]:
    whole = (layout for layout in LAYOUTS if layout.family == family_name(config) and not layout.half)
    return (layout for layout in whole if layout.fits(config))


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


@pytest.mark.parametrize("half", ["encoder", "decoder"])
@pytest.mark.parametrize("name", MIRRORED)
def test_a_half_is_recognised_and_mirrored(name: str, half: str) -> None:
    config = PUBLISHED[name]
    shapes = {key: shape for key, shape in native_shapes(config).items() if key.startswith((half, "to_posterior"))}
    for layout in layouts_for(config):
        assert detected(in_layout(layout, shapes, "vae.")) == (config, shapes)


@pytest.mark.parametrize("half", ["encoder", "decoder"])
@pytest.mark.parametrize("name", [name for name in MIRRORED if family_name(PUBLISHED[name]) in ("kl", "tiny")])
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
def dcae_fields(draw: st.DrawFn) -> dict[str, Any]:
    """Any number of stages and any mixture of blocks, as far as shapes tell them."""
    stages = draw(st.integers(1, 6))
    first_empty = draw(st.booleans()) and stages > 1
    each = draw(st.lists(st.booleans(), min_size=2 * stages, max_size=2 * stages))
    counts = st.lists(st.integers(1, 3), min_size=stages, max_size=stages)
    latent = draw(st.sampled_from((4, 16, 32)))
    fields: dict[str, Any] = {"image_channels": draw(st.sampled_from((1, 3))), "latent_channels": latent}
    for half, chosen in (("encoder", each[:stages]), ("decoder", each[stages:])):
        blocks = draw(counts)
        blocks[0] = 0 if first_empty else blocks[0]
        widths = draw(st.lists(st.sampled_from((16, 32)), min_size=stages, max_size=stages))
        widths[0] = widths[1] if first_empty else widths[0]
        attention = tuple(i for i in range(stages) if blocks[i] and chosen[i])
        sizes = [draw(st.sampled_from(((), (5,), (3, 7)))) if i in attention else () for i in range(stages)]
        fields |= {f"{half}_widths": tuple(widths), f"{half}_blocks": tuple(blocks)}
        fields |= {f"{half}_attention": attention, f"{half}_scales": tuple(sizes)}
    normed = draw(st.sets(st.integers(int(first_empty), stages - 1)))
    with_attention = bool(fields["encoder_attention"])
    return fields | {
        "decoder_batch_norm": tuple(sorted(normed)),
        "downsample": draw(st.sampled_from(("conv", "pixel_unshuffle"))) if stages > 1 else "pixel_unshuffle",
        "upsample": draw(st.sampled_from(("interpolate", "pixel_shuffle"))) if stages > 1 else "pixel_shuffle",
        "head_width": 8 if any(fields["encoder_scales"] + fields["decoder_scales"]) else 32,
        "decoder_relu": tuple(i for i in sorted(normed) if i not in fields["decoder_attention"]),
        "decoder_out_activation": "relu" if fields["decoder_attention"] else "silu",
        "encoder_out_shortcut": with_attention and fields["encoder_widths"][-1] % latent == 0,
        "decoder_in_shortcut": with_attention and fields["decoder_widths"][-1] % latent == 0,
    }


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


@settings(max_examples=8, deadline=None)
@given(dcae_fields(), st.sampled_from(PREFIXES), st.integers())
def test_any_dcae_config_is_read_off_its_shapes(fields: dict[str, Any], prefix: str, seed: int) -> None:
    check_any(DCAEConfig(**fields), prefix, seed)


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

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

from vaekit.checkpoints.cards import Kind, kinds, matching_kinds
from vaekit.checkpoints.families import (
    FAMILIES,
    LAYOUTS,
    Config,
    Family,
    Layout,
    Shapes,
    assemble,
    family_of,
    family_with,
)
from vaekit.checkpoints.families.batch_norm import PATCH
from vaekit.checkpoints.families.family import no_diffusers_class
from vaekit.checkpoints.formats.files import TensorFile, TensorSpec
from vaekit.checkpoints.formats.writing import Piece
from vaekit.checkpoints.fused import join_parts, present_parts
from vaekit.checkpoints.identify import identify
from vaekit.checkpoints.locate import locate
from vaekit.checkpoints.telltales import recognise
from vaekit.errors import WrongTensors
from vaekit.nets import tiny
from vaekit.nets.approx import ApproxConfig
from vaekit.nets.asymmetric import AsymmetricConfig
from vaekit.nets.burgess import BurgessConfig
from vaekit.nets.dcae import DCAEConfig
from vaekit.nets.hunyuan_image import HunyuanImageConfig
from vaekit.nets.joint import JointConfig
from vaekit.nets.kl import KLConfig
from vaekit.nets.tiny import TinyConfig
from vaekit.nets.vq import VQConfig
from vaekit.nets.wan import WanConfig
from vaekit.nets.wan22 import Wan22Config
from vaekit.vae import LatentFrame

SD = (128, 256, 512, 512)
FOUR = (64, 64, 64, 64)
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


def asymmetric(widths: tuple[int, ...], blocks: int) -> AsymmetricConfig:
    fields = dataclasses.asdict(kl(4, SD))
    return AsymmetricConfig(**fields | {"decoder_widths": widths, "decoder_blocks": blocks + 1})


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
    "TAESD": TinyConfig(3, 4, (), FOUR, FOUR, (1, 3, 3, 3), (3, 3, 3, 1), False),
    "TAESD3 and TAEF1": TinyConfig(3, 16, (), FOUR, FOUR, (1, 3, 3, 3), (3, 3, 3, 1), False),
    "TAEF2": TinyConfig(3, 32, (), FOUR, FOUR, (1, 3, 3, 3), (3, 3, 3, 1), True),
    "TAESANA": TinyConfig(3, 32, (32, 64), FOUR, (256, 128, 64, 64, 64, 64), (1, 3, 3, 3), (3, 3, 3, 3, 3, 1), False),
    "Asymmetric x1.5": asymmetric((192, 384, 768, 768), 3),
    "Asymmetric x2": asymmetric((256, 512, 1024, 1024), 5),
    "VAE-approx": ApproxConfig(3, 4, (8, 16, 32, 64, 32, 16, 8), (7, 5, 3, 3, 3, 3, 3, 3)),
    "disentangling-vae MNIST": BurgessConfig(1, 32, 32, 256, 10),
    "disentangling-vae CelebA": BurgessConfig(3, 64, 32, 256, 10),
    "JointVAE": JointConfig(3, 64, 32, 256, 32, (10,)),
    "Wan 2.1 and Qwen-Image": WanConfig(3, 16, (96, 192, 384, 384), (384, 384, 192, 96), 2, 3, (1, 2), True),
    "Qwen2D": WanConfig(3, 16, (96, 192, 384, 384), (384, 384, 192, 96), 2, 3, (), False),
    "Wan 2.1 with a quarter of the width": WanConfig(3, 16, (24, 48, 96, 96), (96, 96, 48, 24), 2, 3, (1, 2), True),
    "Wan 2.2": Wan22Config(3, 48, (160, 320, 640, 640), (1024, 1024, 512, 256), 2, 3, (1, 2), True, 2),
    "Qwen-Image 2.1": Wan22Config(4, 64, QWEN, (1152, 1152, 576, 288, 144), 2, 3, (1, 2, 3), False, 1),
    "HunyuanImage 2.1": HunyuanImageConfig(3, 64, HUNYUAN, HUNYUAN[::-1], 2, 3),
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
}
NO_MIRROR = (
    *("FLUX.2 small decoder", "TAESANA", "Asymmetric x1.5", "Asymmetric x2", "VAE-approx", "JointVAE"),
    *("Wan 2.2", "Qwen-Image 2.1", "DC-AE Lite", "DC-AE f32c32", "DC-AE f64c128", "DC-AE f128c512"),
)
"""Those whose halves are not each other's mirror: half of one is read as half of another."""
MIRRORED = [name for name in PUBLISHED if name not in NO_MIRROR]


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
    pieces = [Piece(name, shape, torch.float32, lambda: torch.empty(0)) for name, shape in named.items()]
    return {piece.name: piece.shape for piece in join_parts(pieces)}


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
        for seed, prefix in enumerate(PREFIXES if layout.any_prefix else ("",)):
            assert detected(in_layout(layout, shapes, prefix), seed) == (config, shapes)


@pytest.mark.parametrize("name", PUBLISHED)
def test_exactly_one_family_says_yes(name: str) -> None:
    shapes = native_shapes(PUBLISHED[name])
    assert [family.name for family in FAMILIES if family.detect(shapes)] == [family_name(PUBLISHED[name])]


def families_for(names: Shapes) -> set[str]:
    """The families whose detectors say yes to a file, by any of their layouts that knows all of its names."""
    said = set()
    file = TensorFile(
        Path("any"), "safetensors", {}, {name: TensorSpec(shape, torch.float32) for name, shape in names.items()}, dict
    )
    for layout in LAYOUTS:
        seen = {name: spec.shape for name, spec in present_parts(file, layout).specs.items()}
        levels = layout.levels(seen)
        native = {layout.to_native(name, levels): shape for name, shape in seen.items()}
        known = {key: shape for key, shape in native.items() if key is not None}
        if len(known) == len(seen) and family_of(layout.family).detect(known):
            said.add(layout.family)
    return said


@pytest.mark.parametrize("half", ["", "encoder", "decoder"])
@pytest.mark.parametrize("name", [name for name in PUBLISHED if "VQ" not in name and "vq" not in name])
def test_exactly_one_family_says_yes_to_a_file(name: str, half: str) -> None:
    """Two families may have the same names: those of HunyuanImage are LDM's, and it has kl-f32's 64 channels."""
    shapes = {key: shape for key, shape in native_shapes(PUBLISHED[name]).items() if key.startswith(half)}
    # The encoder of an asymmetric autoencoder is SD1's own.
    family = "kl" if name.startswith("Asymmetric") and half == "encoder" else family_name(PUBLISHED[name])
    for layout in layouts_for(PUBLISHED[name]) if shapes else ():
        assert families_for(in_layout(layout, shapes)) == {family}


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_runs_is_not_among_what_is_only_recognised(name: str) -> None:
    config = PUBLISHED[name]
    shapes = native_shapes(config)
    for layout in layouts_for(config):
        specs = {key: TensorSpec(shape, torch.float32) for key, shape in in_layout(layout, shapes, "vae.").items()}
        assert recognise(specs) is None


@pytest.mark.parametrize("kind", kinds(), ids=[kind.name for kind in kinds()])
def test_a_kind_names_the_layouts_that_cannot_express_it(kind: Kind) -> None:
    family = family_of(kind.family)
    configs = [config for config in PUBLISHED.values() if kind.fits(family_name(config), config)]
    if configs and family.diffusers is not no_diffusers_class:
        channels = PATCH**2 * configs[0].latent_channels
        frames = (kind.frame, LatentFrame((0.0,) * channels, (1.0,) * channels, PATCH))
        expressed = any(fits_diffusers(family, config, frame) for config in configs for frame in frames)
        assert expressed == ("diffusers" not in kind.not_in), "not_in in kinds.toml"


def fits_diffusers(family: Family, config: Config, frame: LatentFrame | None) -> bool:
    try:
        return bool(family.diffusers(config, frame))
    except WrongTensors:
        return False


@pytest.mark.parametrize("half", ["encoder", "decoder"])
@pytest.mark.parametrize("name", MIRRORED)
def test_a_half_is_recognised_and_mirrored(name: str, half: str) -> None:
    config = PUBLISHED[name]
    shapes = {key: shape for key, shape in native_shapes(config).items() if key.startswith((half, "to_posterior"))}
    for layout in layouts_for(config):
        assert detected(in_layout(layout, shapes, "vae.")) == (config, shapes)


HAVE_BARE_HALVES = ("kl", "tiny")


@pytest.mark.parametrize("half", ["encoder", "decoder"])
@pytest.mark.parametrize("name", [name for name in MIRRORED if family_name(PUBLISHED[name]) in HAVE_BARE_HALVES])
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


@st.composite
def tiny_fields(draw: st.DrawFn) -> dict[str, Any]:
    widths = st.sampled_from((4, 16, 64))
    stages = st.lists(st.tuples(widths, st.integers(1, 4)), min_size=2, max_size=12)
    encoder, decoder = (tuple(zip(*draw(stages), strict=True)) for _ in range(2))
    # The stem's last convolution gives the width of the first stage.
    stem = (*draw(st.lists(widths, max_size=2)), encoder[0][0]) if draw(st.booleans()) else ()
    return {
        "image_channels": draw(st.integers(1, 4)),
        "latent_channels": draw(st.integers(1, 64)),
        "stem_widths": stem,
        "encoder_widths": encoder[0],
        "decoder_widths": decoder[0],
        "encoder_blocks": encoder[1],
        "decoder_blocks": decoder[1],
        "pool": draw(st.booleans()),
    }


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
@given(kl_fields(), st.sampled_from(PREFIXES), st.integers())
def test_any_asymmetric_config_is_read_off_its_shapes(fields: dict[str, Any], prefix: str, seed: int) -> None:
    check_any(AsymmetricConfig(**fields), prefix, seed)


@settings(max_examples=8, deadline=None)
@given(tiny_fields(), st.sampled_from(PREFIXES), st.integers())
def test_any_tiny_config_is_read_off_its_shapes(fields: dict[str, Any], prefix: str, seed: int) -> None:
    check_any(TinyConfig(**fields), prefix, seed)


flat_fields = {"image_channels": st.integers(1, 4), "width": st.integers(1, 40), "hidden": st.integers(1, 40)}
approx_fields = st.lists(st.tuples(st.integers(1, 70), st.sampled_from((1, 3, 5, 7))), min_size=7, max_size=12)


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 4), st.integers(1, 16), approx_fields, st.sampled_from(PREFIXES), st.integers())
def test_any_approx_config_is_read_off_its_shapes(
    pixels: int, latents: int, layers: list[tuple[int, int]], prefix: str, seed: int
) -> None:
    widths, kernels = zip(*layers, strict=True)
    check_any(ApproxConfig(pixels, latents, widths, (3, *kernels)), prefix, seed)


@settings(max_examples=8, deadline=None)
@given(
    st.fixed_dictionaries(
        flat_fields | {"picture_size": st.sampled_from((32, 64)), "latent_channels": st.integers(1, 40)}
    ),
    st.sampled_from(PREFIXES),
    st.integers(),
)
def test_any_burgess_config_is_read_off_its_shapes(fields: dict[str, Any], prefix: str, seed: int) -> None:
    check_any(BurgessConfig(**fields), prefix, seed)


@settings(max_examples=8, deadline=None)
@given(
    st.fixed_dictionaries(
        flat_fields
        | {
            "picture_size": st.sampled_from((32, 64, 4096)),
            "continuous": st.integers(1, 40),
            "categories": st.lists(st.integers(1, 12), max_size=12).map(tuple),
        }
    ),
    st.sampled_from(PREFIXES),
    st.integers(),
)
def test_any_joint_config_is_read_off_its_shapes(fields: dict[str, Any], prefix: str, seed: int) -> None:
    check_any(JointConfig(**fields), prefix, seed)


@settings(max_examples=8, deadline=None)
@given(dcae_fields(), st.sampled_from(PREFIXES), st.integers())
def test_any_dcae_config_is_read_off_its_shapes(fields: dict[str, Any], prefix: str, seed: int) -> None:
    check_any(DCAEConfig(**fields), prefix, seed)


def check_any(config: Config, prefix: str, seed: int) -> None:
    shapes = native_shapes(config)
    for layout in layouts_for(config):
        if prefix and not layout.any_prefix:
            continue
        assert detected(in_layout(layout, shapes, prefix), seed) == (config, shapes)


@pytest.mark.parametrize("name", ["taesd_decoder.safetensors", "flux.safetensors", "vae-ft-mse.ckpt", "no_ending"])
def test_file_names_never_matter(name: str, tmp_path: Path) -> None:
    _, decoder = tiny.build(TinyConfig(3, 4, (), FOUR, FOUR, (1, 3, 3, 3), (3, 3, 3, 1), False))
    save_file(dict(decoder.state_dict()), tmp_path / name)
    identified = identify(tmp_path / name)
    assert (identified.family.name, identified.layout, identified.halves) == ("tiny", "tiny-decoder", ("decoder",))
    assert identified.config == PUBLISHED["TAESD"]
    assert [kind.name for kind in identified.kinds] == ["TAESD (latents of SD1 or SDXL)"]


def test_halves_without_a_mirror_are_what_they_are() -> None:
    """The half that is there is read whole, and its network is the same as in the whole model."""
    halves = ("TAESANA", "encoder"), ("TAESANA", "decoder"), ("Asymmetric x2", "decoder")
    for name, half in (*halves, ("JointVAE", "encoder"), ("JointVAE", "decoder"), ("VAE-approx", "decoder")):
        config, shapes = PUBLISHED[name], native_shapes(PUBLISHED[name])
        part = {key: shape for key, shape in shapes.items() if key.startswith(half + ".")}
        found, native = detected(part)
        assert native == part
        assert found is not None
        assert type(found) is type(config)
        assert found.factor == config.factor
        assert {key: shape for key, shape in native_shapes(found).items() if key.startswith(half + ".")} == part
        assert [kind.name.split()[0] for kind in matching_kinds(family_name(found), found)] == [name.split()[0]]


def test_the_encoder_of_an_asymmetric_one_is_that_of_sd() -> None:
    shapes = {key: shape for key, shape in native_shapes(PUBLISHED["Asymmetric x2"]).items() if "encoder." in key[:8]}
    assert detected(shapes) == (PUBLISHED["SD1 and SDXL"], shapes)

"""Config -> network -> names and shapes -> the same config, for any config, in every layout, order and prefix."""

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from shapes_of_configs import PREFIXES, detected, in_layout, layouts_for, native_shapes

from vaekit.families import Config
from vaekit.families.approx.net import ApproxConfig
from vaekit.families.asymmetric.net import AsymmetricConfig
from vaekit.families.burgess.net import BurgessConfig
from vaekit.families.dcae.net import DCAEConfig
from vaekit.families.hunyuan_image.net import HunyuanImageConfig
from vaekit.families.joint.net import JointConfig
from vaekit.families.kl.net import KLConfig
from vaekit.families.tiny.net import TinyConfig
from vaekit.families.vq.net import VQConfig
from vaekit.families.wan.net import WanConfig
from vaekit.families.wan22.net import Wan22Config


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


@settings(max_examples=4, deadline=None)
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


@settings(max_examples=4, deadline=None)
@given(wan_fields(), st.sampled_from(PREFIXES), st.integers())
def test_any_wan_config_is_read_off_its_shapes(fields: dict[str, Any], prefix: str, seed: int) -> None:
    check_any(WanConfig(**fields), prefix, seed)


@settings(max_examples=4, deadline=None)
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


@settings(max_examples=4, deadline=None)
@given(kl_fields(), st.sampled_from(PREFIXES), st.integers())
def test_any_kl_config_is_read_off_its_shapes(fields: dict[str, Any], prefix: str, seed: int) -> None:
    check_any(KLConfig(**fields), prefix, seed)


@settings(max_examples=4, deadline=None)
@given(kl_fields(), st.integers(1, 5000), st.sampled_from(PREFIXES), st.integers())
def test_any_vq_config_is_read_off_its_shapes(fields: dict[str, Any], codes: int, prefix: str, seed: int) -> None:
    check_any(VQConfig(**fields, codes=codes), prefix, seed)


@settings(max_examples=4, deadline=None)
@given(kl_fields(), st.sampled_from(PREFIXES), st.integers())
def test_any_asymmetric_config_is_read_off_its_shapes(fields: dict[str, Any], prefix: str, seed: int) -> None:
    check_any(AsymmetricConfig(**fields), prefix, seed)


@settings(max_examples=4, deadline=None)
@given(tiny_fields(), st.sampled_from(PREFIXES), st.integers())
def test_any_tiny_config_is_read_off_its_shapes(fields: dict[str, Any], prefix: str, seed: int) -> None:
    check_any(TinyConfig(**fields), prefix, seed)


flat_fields = {"image_channels": st.integers(1, 4), "width": st.integers(1, 40), "hidden": st.integers(1, 40)}
approx_fields = st.lists(st.tuples(st.integers(1, 70), st.sampled_from((1, 3, 5, 7))), min_size=7, max_size=12)


@settings(max_examples=4, deadline=None)
@given(st.integers(1, 4), st.integers(1, 16), approx_fields, st.sampled_from(PREFIXES), st.integers())
def test_any_approx_config_is_read_off_its_shapes(
    pixels: int, latents: int, layers: list[tuple[int, int]], prefix: str, seed: int
) -> None:
    widths, kernels = zip(*layers, strict=True)
    check_any(ApproxConfig(pixels, latents, widths, (3, *kernels)), prefix, seed)


@settings(max_examples=4, deadline=None)
@given(
    st.fixed_dictionaries(
        flat_fields | {"image_size": st.sampled_from((32, 64)), "latent_channels": st.integers(1, 40)}
    ),
    st.sampled_from(PREFIXES),
    st.integers(),
)
def test_any_burgess_config_is_read_off_its_shapes(fields: dict[str, Any], prefix: str, seed: int) -> None:
    check_any(BurgessConfig(**fields), prefix, seed)


@settings(max_examples=4, deadline=None)
@given(
    st.fixed_dictionaries(
        flat_fields
        | {
            "image_size": st.sampled_from((32, 64, 4096)),
            "continuous": st.integers(1, 40),
            "categories": st.lists(st.integers(1, 12), max_size=12).map(tuple),
        }
    ),
    st.sampled_from(PREFIXES),
    st.integers(),
)
def test_any_joint_config_is_read_off_its_shapes(fields: dict[str, Any], prefix: str, seed: int) -> None:
    check_any(JointConfig(**fields), prefix, seed)


@settings(max_examples=4, deadline=None)
@given(dcae_fields(), st.sampled_from(PREFIXES), st.integers())
def test_any_dcae_config_is_read_off_its_shapes(fields: dict[str, Any], prefix: str, seed: int) -> None:
    check_any(DCAEConfig(**fields), prefix, seed)


def check_any(config: Config, prefix: str, seed: int) -> None:
    shapes = native_shapes(config)
    for layout in layouts_for(config):
        if prefix and not layout.any_prefix:
            continue
        assert detected(in_layout(layout, shapes, prefix), seed) == (config, shapes)

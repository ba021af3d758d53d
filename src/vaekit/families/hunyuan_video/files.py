"""HunyuanVideo 1.0: names, detector and settings. The authors' names are diffusers'; others use LDM's."""

from typing import Any

from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.families.convolutional import ATTENTION, MATRICES
from vaekit.families.family import Family, Shapes, refuse_obstacles
from vaekit.families.hunyuan_video import net as hunyuan_video
from vaekit.families.hunyuan_video.net import HunyuanVideoConfig
from vaekit.families.layout import HALVES, Layout, Rules, leaves, product, same_names
from vaekit.families.levels import mirror_obstacles
from vaekit.families.normalization import one_factor
from vaekit.families.single_frame_shapes import (
    ENDS,
    PUBLISHED_GROUPS,
    residual_names,
    video_fields,
    with_published_groups,
)
from vaekit.normalization import LatentNormalization

NAME = "AutoencoderKLHunyuanVideo"
NORMS = {f"{norm}.{{p}}": f"{norm}.{{p}}" for norm in ("norm1", "norm2")}
RESAMPLE = {"conv.{p}": "conv.conv.{p}"}
QUANT_CONVS: Rules = (
    ("encoder.quant_conv.{p}", "quant_conv.{p}"),
    ("decoder.post_quant_conv.{p}", "post_quant_conv.{p}"),
)


def half_names(half: str, level: str, block: str, resample: str, ldm: bool) -> Rules:
    """The rules of one half.

    Args:
        half: "encoder" or "decoder".
        level: the template of a level in the file.
        block: the template of a residual block in a level.
        resample: the layer of a level that changes the resolution.
        ldm: whether the other names are LDM's rather than diffusers'.
    """
    shortcut = "nin_shortcut.conv" if ldm else "conv_shortcut.conv"
    middle = "mid" if ldm else "mid_block"
    first, attention, last = ("block_1", "attn_1", "block_2") if ldm else ("resnets.0", "attentions.0", "resnets.1")
    layers = {name: name for name in ATTENTION} if ldm else ATTENTION
    return (
        *leaves(half, half, ENDS),
        *product(half, half, {"norm_out": "norm_out" if ldm else "conv_norm_out"}),
        *residual_names(f"{half}.levels.{{i}}.block.{{j}}", f"{half}.{level}.{block}", NORMS, shortcut),
        *leaves(f"{half}.levels.{{i}}.resample", f"{half}.{level}.{resample}", RESAMPLE),
        *residual_names(f"{half}.mid.block_1", f"{half}.{middle}.{first}", NORMS, shortcut),
        *product(f"{half}.mid.attn_1", f"{half}.{middle}.{attention}", layers),
        *residual_names(f"{half}.mid.block_2", f"{half}.{middle}.{last}", NORMS, shortcut),
    )


DIFFUSERS = (
    *half_names("encoder", "down_blocks.{i}", "resnets.{j}", "downsamplers.0", ldm=False),
    *half_names("decoder", "up_blocks.{i}", "resnets.{j}", "upsamplers.0", ldm=False),
    *QUANT_CONVS,
)
LDM = (
    *half_names("encoder", "down.{i}", "block.{j}", "downsample", ldm=True),
    *half_names("decoder", "up.{~i}", "block.{j}", "upsample", ldm=True),
    *QUANT_CONVS,
)


def detect_hunyuan_video(shapes: Shapes) -> HunyuanVideoConfig | None:
    """The configuration of a HunyuanVideo autoencoder, or of one half, which the other mirrors."""
    fields = video_fields(shapes)
    between = ("encoder.quant_conv.weight", "decoder.post_quant_conv.weight")
    normed = any(key.endswith("norm1.weight") for key in shapes)
    if fields is None or not normed or not any(f"{half}.levels.0.resample.conv.weight" in shapes for half in HALVES):
        return None
    if not any(len(shapes.get(key, ())) == 5 for key in between):
        return None
    return HunyuanVideoConfig(**fields, mid_attention=any(".mid.attn_1." in key for key in shapes))


def settings(config: HunyuanVideoConfig, normalization: LatentNormalization | None) -> dict[str, Any]:
    """The `config.json` of AutoencoderKLHunyuanVideo."""
    refuse_obstacles(NAME, mirror_obstacles(config), '"ldm" or "native"')
    levels = len(config.encoder_widths)
    return {
        "_class_name": NAME,
        "act_fn": "silu",
        "block_out_channels": list(config.encoder_widths),
        "down_block_types": ["HunyuanVideoDownBlock3D"] * levels,
        "in_channels": config.image_channels,
        "latent_channels": config.latent_channels,
        "layers_per_block": config.encoder_blocks,
        "mid_block_add_attention": config.mid_attention,
        "norm_num_groups": PUBLISHED_GROUPS,
        "out_channels": config.image_channels,
        "spatial_compression_ratio": config.geometry.factors[0],
        # No tensor depends on it; the class can decode with this ratio only.
        "temporal_compression_ratio": 4,
        "up_block_types": ["HunyuanVideoUpBlock3D"] * levels,
    } | one_factor(normalization, NAME)


LAYOUTS = (
    Layout("diffusers", "hunyuan-video", DIFFUSERS, matrices=MATRICES),
    Layout("ldm", "hunyuan-video", LDM),
    Layout("native", "hunyuan-video", same_names(DIFFUSERS)),
)
FAMILY = Family(
    name="hunyuan-video",
    config=HunyuanVideoConfig,
    layouts=LAYOUTS,
    detect=detect_hunyuan_video,
    build=hunyuan_video.build,
    posterior_head=lambda _: DiagonalGaussian.from_moments,
    likelihood_head=lambda _: Laplace,
    complete=with_published_groups,
    diffusers=settings,
)

"""CogVideoX: names, detector and settings."""

from typing import Any

from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.families.cogvideox import net as cogvideox
from vaekit.families.cogvideox.net import CogVideoXConfig
from vaekit.families.family import Family, Shapes, refuse_obstacles
from vaekit.families.layout import HALVES, Layout, Rules, leaves, product, same_names
from vaekit.families.levels import mirror_obstacles
from vaekit.families.normalization import diffusers_normalization
from vaekit.families.single_frame_shapes import (
    ENDS,
    PUBLISHED_GROUPS,
    residual_names,
    video_fields,
    with_published_groups,
)
from vaekit.normalization import LatentNormalization

NAME = "AutoencoderKLCogVideoX"
SPATIAL = {"norm_layer.{p}": "norm_layer.{p}", "conv_y.{p}": "conv_y.conv.{p}", "conv_b.{p}": "conv_b.conv.{p}"}
PLAIN = {"{p}": "{p}"}


def norm_names(norm: str, half: str) -> dict[str, str]:
    """The leaves of a norm in a half, with their names in every file."""
    return {f"{norm}.{a}": f"{norm}.{b}" for a, b in (PLAIN if half == "encoder" else SPATIAL).items()}


def half_names(half: str, level: str, block: str, resample: str, original: bool) -> Rules:
    """The rules of one half.

    Args:
        half: "encoder" or "decoder".
        level: the template of a level in the file.
        block: the template of a residual block in a level.
        resample: the layer of a level that changes the resolution.
        original: whether the other names are the authors' rather than diffusers'.
    """
    norms = norm_names("norm1", half) | norm_names("norm2", half)
    shortcut = "nin_shortcut" if original else "conv_shortcut"
    middle = ("mid.block_1", "mid.block_2") if original else ("mid_block.resnets.0", "mid_block.resnets.1")
    return (
        *leaves(half, half, ENDS | norm_names("norm_out", half)),
        *residual_names(f"{half}.levels.{{i}}.block.{{j}}", f"{half}.{level}.{block}", norms, shortcut),
        *product(f"{half}.levels.{{i}}.resample", f"{half}.{level}.{resample}", {"conv": "conv"}),
        *residual_names(f"{half}.mid.block_1", f"{half}.{middle[0]}", norms, shortcut),
        *residual_names(f"{half}.mid.block_2", f"{half}.{middle[1]}", norms, shortcut),
    )


DIFFUSERS = (
    *half_names("encoder", "down_blocks.{i}", "resnets.{j}", "downsamplers.0", original=False),
    *half_names("decoder", "up_blocks.{i}", "resnets.{j}", "upsamplers.0", original=False),
)
ORIGINAL = (
    *half_names("encoder", "down.{i}", "block.{j}", "downsample", original=True),
    *half_names("decoder", "up.{~i}", "block.{j}", "upsample", original=True),
)


def detect_cogvideox(shapes: Shapes) -> CogVideoXConfig | None:
    """The configuration of a CogVideoX autoencoder, or of one half, which the other mirrors."""
    fields = video_fields(shapes)
    # Resolutions change by convolutions over images.
    resamplers = (shapes.get(f"{half}.levels.0.resample.conv.weight", ()) for half in HALVES)
    if fields is None or not any(len(shape) == 4 for shape in resamplers):
        return None
    normed = "encoder.levels.0.block.0.norm1.weight", "decoder.levels.0.block.0.norm1.conv_y.weight"
    return CogVideoXConfig(**fields) if any(key in shapes for key in normed) else None


def settings(config: CogVideoXConfig, normalization: LatentNormalization | None) -> dict[str, Any]:
    """The `config.json` of AutoencoderKLCogVideoX."""
    refuse_obstacles(NAME, mirror_obstacles(config), '"original" or "native"')
    levels = len(config.encoder_widths)
    return {
        "_class_name": NAME,
        "act_fn": "silu",
        "block_out_channels": list(config.encoder_widths),
        "down_block_types": ["CogVideoXDownBlock3D"] * levels,
        "in_channels": config.image_channels,
        "latent_channels": config.latent_channels,
        "layers_per_block": config.encoder_blocks,
        "norm_num_groups": PUBLISHED_GROUPS,
        "out_channels": config.image_channels,
        # No tensor depends on it.
        "temporal_compression_ratio": 4,
        "up_block_types": ["CogVideoXUpBlock3D"] * levels,
    } | diffusers_normalization(normalization)


LAYOUTS = (
    Layout("original", "cogvideox", ORIGINAL),
    Layout("native", "cogvideox", same_names(ORIGINAL)),
    Layout("diffusers", "cogvideox", DIFFUSERS),
)
FAMILY = Family(
    name="cogvideox",
    config=CogVideoXConfig,
    layouts=LAYOUTS,
    detect=detect_cogvideox,
    build=cogvideox.build,
    posterior_head=lambda _: DiagonalGaussian.from_moments,
    likelihood_head=lambda _: Laplace,
    complete=with_published_groups,
    diffusers=settings,
)

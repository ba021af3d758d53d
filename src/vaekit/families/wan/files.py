"""Wan 2.1 and Qwen-Image: video autoencoders that encode and decode still images, and 2-D copies pruned for them."""

import math
from typing import Any

from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.families.convolutional import level_widths
from vaekit.families.family import Family, Shapes, first_shape, highest, refuse_obstacles
from vaekit.families.layout import Layout, Rules, leaves, same_names
from vaekit.families.levels import block_obstacles
from vaekit.families.normalization import mean_and_std
from vaekit.families.wan import net as wan
from vaekit.families.wan.net import WanConfig
from vaekit.normalization import LatentNormalization

RESIDUAL = {
    "norm1.gamma": "residual.0.gamma",
    "conv1.{p}": "residual.2.{p}",
    "norm2.gamma": "residual.3.gamma",
    "conv2.{p}": "residual.6.{p}",
    "shortcut.{p}": "shortcut.{p}",
}
DIFFUSERS_RESIDUAL = {leaf: leaf for leaf in RESIDUAL} | {"shortcut.{p}": "conv_shortcut.{p}"}
ATTENTION = {leaf: leaf for leaf in ("norm.gamma", "to_qkv.{p}", "proj.{p}")}
RESAMPLE = {"conv.{p}": "resample.1.{p}", "time_conv.{p}": "time_conv.{p}"}
ENDS = {"conv_in.{p}": "conv1.{p}", "norm_out.gamma": "head.0.gamma", "conv_out.{p}": "head.2.{p}"}
DIFFUSERS_ENDS = {leaf: leaf for leaf in ENDS}
MOST_IMAGE_CHANNELS = 4
"""The channels of an image with transparency; decoders with more output channels upscale."""


def middle(half: str, first: str, attention: str, last: str, residual: dict[str, str]) -> Rules:
    """The rules of the three layers at the lowest resolution of one half."""
    return (
        *leaves(f"{half}.mid.block_1", f"{half}.{first}", residual),
        *leaves(f"{half}.mid.attn_1", f"{half}.{attention}", ATTENTION),
        *leaves(f"{half}.mid.block_2", f"{half}.{last}", residual),
    )


def outside_levels(original: bool) -> Rules:
    """The rules for tensors outside the levels, with the authors' names or diffusers'."""
    ends, residual = (ENDS, RESIDUAL) if original else (DIFFUSERS_ENDS, DIFFUSERS_RESIDUAL)
    in_middle = (
        ("middle.0", "middle.1", "middle.2")
        if original
        else ("mid_block.resnets.0", "mid_block.attentions.0", "mid_block.resnets.1")
    )
    return (
        *(rule for half in ("encoder", "decoder") for rule in leaves(half, half, ends)),
        *(rule for half in ("encoder", "decoder") for rule in middle(half, *in_middle, residual)),
        ("encoder.quant_conv.{p}", "conv1.{p}" if original else "quant_conv.{p}"),
        ("decoder.post_quant_conv.{p}", "conv2.{p}" if original else "post_quant_conv.{p}"),
    )


ORIGINAL = (
    *leaves("encoder.levels.{i}.block.{j}", "encoder.downsamples.{n}", RESIDUAL),
    *leaves("encoder.levels.{i}.resample", "encoder.downsamples.{e}", RESAMPLE),
    *leaves("decoder.levels.{i}.block.{j}", "decoder.upsamples.{n}", RESIDUAL),
    *leaves("decoder.levels.{i}.resample", "decoder.upsamples.{e}", RESAMPLE),
    *outside_levels(original=True),
)
DIFFUSERS = (
    *leaves("encoder.levels.{i}.block.{j}", "encoder.down_blocks.{n}", DIFFUSERS_RESIDUAL),
    *leaves("encoder.levels.{i}.resample", "encoder.down_blocks.{e}", RESAMPLE),
    *leaves("decoder.levels.{i}.block.{j}", "decoder.up_blocks.{i}.resnets.{j}", DIFFUSERS_RESIDUAL),
    *leaves("decoder.levels.{i}.resample", "decoder.up_blocks.{i}.upsamplers.0", RESAMPLE),
    *outside_levels(original=False),
)


def detect_wan(shapes: Shapes) -> WanConfig | None:
    """The configuration of a Wan 2.1 autoencoder, or of one half, which the other is assumed to mirror."""
    fields = wan_fields(shapes)
    if fields is None:
        return None
    last = first_shape(shapes, "decoder.conv_out.weight", "decoder.conv_out.bias")
    has_encoder = "encoder.conv_in.weight" in shapes
    channels, upscale = upscaling(last[0] if last else 0, fields["image_channels"] if has_encoder else None)
    return WanConfig(**fields | {"image_channels": channels or fields["image_channels"]}, upscale=upscale)


def upscaling(outputs: int, channels: int | None) -> tuple[int | None, int]:
    """The image channels and the upscaling of a decoder, whose output channels become squares of pixels.

    Args:
        outputs: the output channels of its last convolution; 0 without a decoder.
        channels: the image channels of the encoder; None without one, which leaves RGB, then RGBA.
    """
    likely = (channels,) if channels else () if outputs <= MOST_IMAGE_CHANNELS else (3, MOST_IMAGE_CHANNELS)
    fitting = ((count, math.isqrt(outputs // count)) for count in likely if outputs > count)
    return next((pair for pair in fitting if pair[0] * pair[1] ** 2 == outputs), (channels, 1))


def wan_fields(shapes: Shapes) -> dict[str, Any] | None:
    """The fields of a WanConfig, from native keys and shapes."""
    encoder, decoder = "encoder.levels", "decoder.levels"
    if not any(key.endswith(".norm1.gamma") for key in shapes):
        return None
    encoder_widths, decoder_widths = level_widths(shapes, encoder), level_widths(shapes, decoder)
    channels, latent = image_channels(shapes), latent_channels(shapes)
    if not (encoder_widths or decoder_widths) or not (channels and latent):
        return None
    encoder_blocks, decoder_blocks = (highest(shapes, rf"{half}\.\d+\.block\.(\d+)\.") for half in (encoder, decoder))
    levels = len(encoder_widths or decoder_widths)
    mirrored = tuple(sorted(levels - 2 - i for i in time_levels(shapes, decoder, levels)))
    return {
        "image_channels": channels,
        "latent_channels": latent,
        "encoder_widths": encoder_widths or decoder_widths[::-1],
        "decoder_widths": decoder_widths or encoder_widths[::-1],
        "encoder_blocks": encoder_blocks or max(1, decoder_blocks - 1),
        "decoder_blocks": decoder_blocks or encoder_blocks + 1,
        "time_levels": time_levels(shapes, encoder, levels) if encoder_widths else mirrored,
        "temporal": reaches_over_time(shapes),
    }


def time_levels(shapes: Shapes, levels: str, count: int) -> tuple[int, ...]:
    """The levels that end with a convolution over time."""
    return tuple(
        i
        for i in range(count)
        if any(f"{levels}.{i}.resample.time_conv.{leaf}" in shapes for leaf in ("weight", "bias"))
    )


def reaches_over_time(shapes: Shapes) -> bool:
    """Whether kernels have more than one time slice."""
    ends = (f"{half}.{end}.weight" for half in ("encoder", "decoder") for end in ("conv_in", "conv_out"))
    shape = first_shape(shapes, *ends)
    return shape is not None and len(shape) == 5 and shape[2] > 1


def image_channels(shapes: Shapes) -> int | None:
    """Image channels of the encoder or of the decoder."""
    first = first_shape(shapes, "encoder.conv_in.weight")
    last = first_shape(shapes, "decoder.conv_out.weight", "decoder.conv_out.bias")
    return first[1] if first and len(first) > 1 else last[0] if last else None


def latent_channels(shapes: Shapes) -> int | None:
    """Latent channels of the decoder, or half of the encoder's output channels."""
    first = first_shape(shapes, "decoder.post_quant_conv.weight", "decoder.post_quant_conv.bias")
    last = first_shape(shapes, "encoder.quant_conv.weight", "encoder.quant_conv.bias", "encoder.conv_out.bias")
    return first[0] if first else last[0] // 2 if last else None


def settings(config: WanConfig, normalization: LatentNormalization | None) -> dict[str, Any]:
    """The `config.json` of AutoencoderKLWan.

    Qwen-Image's class has another name and the same network. Files do not state which of the two they are, and
    diffusers uses this class for a single file. AutoencoderKLQwenImage opens the folder as well.
    """
    return wan_settings(config, normalization) | {
        "in_channels": config.image_channels,
        "out_channels": config.upscale**2 * config.image_channels,
    }


def wan_settings(config: WanConfig, normalization: LatentNormalization | None) -> dict[str, Any]:
    """The settings that diffusers' configs of Wan 2.1 and 2.2 share, if they can express the network."""
    multiples, decoder_multiples = multiples_of(config.encoder_widths), multiples_of(config.decoder_widths[::-1])
    obstacles = {
        "kernels pruned to a single frame": not config.temporal,
        "widths in encoder and decoder that are not equal multiples": not multiples or multiples != decoder_multiples,
        **block_obstacles(config),
    }
    refuse_obstacles("AutoencoderKLWan", obstacles, '"original" or "native"')
    base, decoder_base = config.encoder_widths[0], config.decoder_widths[-1]
    return {
        "_class_name": "AutoencoderKLWan",
        "attn_scales": [],
        "base_dim": base,
        "decoder_base_dim": None if decoder_base == base else decoder_base,
        "dim_mult": multiples,
        "num_res_blocks": config.encoder_blocks,
        "scale_factor_spatial": config.geometry.factors[0],
        "scale_factor_temporal": 2 ** len(config.time_levels),
        "temperal_downsample": [i in config.time_levels for i in range(len(config.encoder_widths) - 1)],
        "z_dim": config.latent_channels,
    } | mean_and_std(normalization, config.latent_channels)


def multiples_of(widths: tuple[int, ...]) -> list[int]:
    """Each width as a multiple of the first; empty if one is not."""
    return [width // widths[0] for width in widths] if all(width % widths[0] == 0 for width in widths) else []


LAYOUTS = (
    Layout("original", "wan", ORIGINAL),
    Layout("native", "wan", same_names(ORIGINAL)),
    Layout("diffusers", "wan", DIFFUSERS),
)
FAMILY = Family(
    name="wan",
    config=WanConfig,
    layouts=LAYOUTS,
    detect=detect_wan,
    build=wan.build,
    posterior_head=lambda _: DiagonalGaussian.from_moments,
    likelihood_head=lambda _: Laplace,
    diffusers=settings,
)

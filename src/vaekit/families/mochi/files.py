"""Mochi 1: names, detector and settings."""

import re
from itertools import pairwise
from typing import Any

from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.families.family import Family, Shapes, first_shape, highest, refuse_obstacles
from vaekit.families.layout import Layout, Rules, leaves, product, same_names
from vaekit.families.mochi import net as mochi
from vaekit.families.mochi.net import NORM_GROUPS, OCTAVES, MochiConfig
from vaekit.families.normalization import mean_and_std, stated_factor
from vaekit.families.single_frame_shapes import CONVOLUTIONS
from vaekit.normalization import LatentNormalization

NAME = "AutoencoderKLMochi"
BLOCK = CONVOLUTIONS | {f"{norm}.{{p}}": f"{norm}.norm_layer.{{p}}" for norm in ("norm1", "norm2")}
ATTENTION = {f"{layer}.{{p}}": f"to_{layer}.{{p}}" for layer in ("q", "k", "v")} | {"proj_out.{p}": "to_out.0.{p}"}
LINEAR = r"(encoder|decoder)\.(proj_(in|out)|.+\.proj(_out)?|.+\.attn\..+)\.weight"
"""Layers over channels that files store as matrices."""


def blocks_names(native: str, foreign: str) -> Rules:
    """The rules of residual blocks, and of attention after each."""
    return (
        *leaves(f"{native}.block.{{j}}", f"{foreign}.resnets.{{j}}", BLOCK),
        *leaves(f"{native}.attn.{{j}}", f"{foreign}.attentions.{{j}}", ATTENTION),
        *leaves(f"{native}.attn.{{j}}.norm", f"{foreign}.norms.{{j}}.norm_layer", {"{p}": "{p}"}),
    )


DIFFUSERS = (
    *product("encoder", "encoder", {"proj_in": "proj_in", "proj_out": "proj_out", "norm_out": "norm_out.norm_layer"}),
    *product("decoder", "decoder", {"conv_in": "conv_in", "proj_out": "proj_out"}),
    *(
        rule
        for half in ("encoder", "decoder")
        for ends in ("block_in", "block_out")
        for rule in blocks_names(f"{half}.{ends}", f"{half}.{ends}")
    ),
    *blocks_names("encoder.levels.{i}", "encoder.down_blocks.{i}"),
    *product("encoder.levels.{i}", "encoder.down_blocks.{i}", {"conv_in": "conv_in.conv"}),
    *blocks_names("decoder.levels.{i}", "decoder.up_blocks.{i}"),
    *product("decoder.levels.{i}", "decoder.up_blocks.{i}", {"proj": "proj"}),
)


def detect_mochi(shapes: Shapes) -> MochiConfig | None:
    """The configuration of a Mochi autoencoder.

    A half alone is mirrored. A decoder alone does not determine how its factors are divided between time and space:
    resolutions are assumed to double.
    """
    encoder, decoder = widths_of(shapes, "encoder"), widths_of(shapes, "decoder")
    first, last = first_shape(shapes, "encoder.proj_in.weight"), first_shape(shapes, "decoder.proj_out.bias")
    features = 1 + 2 * len(OCTAVES)
    image = first[1] // features if first and len(first) > 1 else last[0] if last else 0
    inner, outer = first_shape(shapes, "decoder.conv_in.weight"), first_shape(shapes, "encoder.proj_out.weight")
    latent = inner[1] if inner and len(inner) > 1 else outer[0] // 2 if outer else 0
    factors = encoder_factors(shapes, encoder) if encoder else decoder_factors(shapes, decoder)
    if not (image and latent) or not factors or any(width % NORM_GROUPS for width in (*encoder, *decoder)):
        return None
    counts = {half: blocks_of(shapes, half, len(factors)) for half in ("encoder", "decoder")}
    mirrored = (False, *[True] * (len(factors) + 1))
    return MochiConfig(
        image_channels=image,
        latent_channels=latent,
        encoder_widths=encoder or decoder[::-1],
        encoder_blocks=counts["encoder"] if encoder else counts["decoder"][::-1],
        encoder_attention=attention_of(shapes, len(factors)) if encoder else mirrored,
        decoder_widths=decoder or encoder[::-1],
        decoder_blocks=counts["decoder"] if decoder else counts["encoder"][::-1],
        factors=factors,
    )


def paths_of(half: str, levels: int) -> list[str]:
    """The native paths of the groups of residual blocks of a half, in order."""
    return [f"{half}.block_in", *(f"{half}.levels.{i}" for i in range(levels)), f"{half}.block_out"]


def widths_of(shapes: Shapes, half: str) -> tuple[int, ...]:
    """Channels of the groups of blocks; empty if the half is absent. The first or last two groups are equally wide."""
    levels = highest(shapes, rf"{half}\.levels\.(\d+)\.")
    paths = paths_of(half, levels)
    paths = paths[:-1] if half == "encoder" else paths[1:]
    firsts = [first_shape(shapes, f"{path}.block.0.norm1.weight", f"{path}.block.0.norm2.weight") for path in paths]
    return tuple(first[0] for first in firsts if first) if levels and None not in firsts else ()


def blocks_of(shapes: Shapes, half: str, levels: int) -> tuple[int, ...]:
    """The number of residual blocks of each group."""
    return tuple(highest(shapes, rf"{re.escape(path)}\.block\.(\d+)\.") for path in paths_of(half, levels))


def attention_of(shapes: Shapes, levels: int) -> tuple[bool, ...]:
    """Whether each group of the encoder has attention."""
    return tuple(any(key.startswith(f"{path}.attn.") for key in shapes) for path in paths_of("encoder", levels))


def encoder_factors(shapes: Shapes, widths: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """The factors in time and space, from the kernels of the layers that change the resolution."""
    kernels = [shapes.get(f"encoder.levels.{i}.conv_in.weight", ()) for i in range(len(widths) - 1)]
    return tuple((kernel[2], kernel[3]) for kernel in kernels) if all(len(kernel) == 5 for kernel in kernels) else ()


def decoder_factors(shapes: Shapes, widths: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """The factors in time, from the number of channels before they are rearranged, for resolutions that double."""
    outputs = [first_shape(shapes, f"decoder.levels.{i}.proj.bias") for i in range(len(widths) - 1)]
    times = [out[0] // (4 * width) if out else 0 for out, (_, width) in zip(outputs, pairwise(widths), strict=True)]
    return tuple((time, 2) for time in times[::-1]) if all(times) else ()


def settings(config: MochiConfig, normalization: LatentNormalization | None) -> dict[str, Any]:
    """The `config.json` of AutoencoderKLMochi."""
    obstacles = {"other numbers of blocks in encoder and decoder": config.encoder_blocks != config.decoder_blocks[::-1]}
    refuse_obstacles(NAME, obstacles, '"native"')
    return {
        "_class_name": NAME,
        "act_fn": "silu",
        "add_attention_block": list(config.encoder_attention),
        "decoder_block_out_channels": list(config.decoder_widths[::-1]),
        "encoder_block_out_channels": list(config.encoder_widths),
        "in_channels": config.image_channels * (1 + 2 * len(OCTAVES)),
        "latent_channels": config.latent_channels,
        "layers_per_block": list(config.encoder_blocks),
        "out_channels": config.image_channels,
        "scaling_factor": stated_factor(normalization),
        "spatial_expansions": [space for _, space in config.factors],
        "temporal_expansions": [time for time, _ in config.factors],
    } | mean_and_std(normalization, config.latent_channels)


LAYOUTS = (
    Layout("diffusers", "mochi", DIFFUSERS, matrices=LINEAR),
    Layout("native", "mochi", same_names(DIFFUSERS)),
)
FAMILY = Family(
    name="mochi",
    config=MochiConfig,
    layouts=LAYOUTS,
    detect=detect_mochi,
    build=mochi.build,
    posterior_head=lambda _: DiagonalGaussian.from_moments,
    likelihood_head=lambda _: Laplace,
    diffusers=settings,
)

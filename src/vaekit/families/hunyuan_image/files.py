"""HunyuanImage 2.1: 64 channels at 1/32 of the resolution; the names are LDM's."""

import itertools
from typing import Any

from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.families.convolutional import (
    RESIDUAL,
    kl_hidden_channels,
    kl_image_channels,
    level_widths,
)
from vaekit.families.family import Family, Shapes, conv_shape, highest, refuse_obstacles
from vaekit.families.hunyuan_image import net as hunyuan_image
from vaekit.families.hunyuan_image.net import NORM_GROUPS, HunyuanImageConfig
from vaekit.families.layout import HALVES, Layout, Rules, product, same_names
from vaekit.families.levels import mirror_obstacles
from vaekit.families.normalization import diffusers_normalization
from vaekit.normalization import LatentNormalization

SAME = {layer: layer for layer in RESIDUAL if layer != "nin_shortcut"}
ATTENTION = {"norm": "norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "proj"}
CONV = {"conv": "conv"}
MIDDLE = {"mid.block_1": "mid_block.resnets.0", "mid.block_2": "mid_block.resnets.1"}
ENDS = {layer: layer for layer in ("conv_in", "norm_out", "conv_out")}


def outside_levels(original: bool) -> Rules:
    """The rules for tensors outside the levels: the original names are the native ones, others are diffusers'."""
    attention = {layer: layer for layer in ATTENTION} if original else ATTENTION
    middle = {block: block for block in MIDDLE} if original else MIDDLE
    beside = "mid.attn_1" if original else "mid_block.attentions.0"
    return (
        *(rule for half in HALVES for rule in product(half, half, ENDS)),
        *(rule for half in HALVES for a, b in middle.items() for rule in product(f"{half}.{a}", f"{half}.{b}", SAME)),
        *(rule for half in HALVES for rule in product(f"{half}.mid.attn_1", f"{half}.{beside}", attention)),
    )


ORIGINAL = (
    *product("encoder.levels.{i}.block.{j}", "encoder.down.{i}.block.{j}", SAME),
    *product("encoder.levels.{i}.resample", "encoder.down.{i}.downsample", CONV),
    *product("decoder.levels.{i}.block.{j}", "decoder.up.{i}.block.{j}", SAME),
    *product("decoder.levels.{i}.resample", "decoder.up.{i}.upsample", CONV),
    *outside_levels(original=True),
)
DIFFUSERS = (
    *product("encoder.levels.{i}.block.{j}", "encoder.down_blocks.{n}", SAME),
    *product("encoder.levels.{i}.resample", "encoder.down_blocks.{e}", CONV),
    *product("decoder.levels.{i}.block.{j}", "decoder.up_blocks.{n}", SAME),
    *product("decoder.levels.{i}.resample", "decoder.up_blocks.{e}", CONV),
    *outside_levels(original=False),
)


def detect_hunyuan_image(shapes: Shapes) -> HunyuanImageConfig | None:
    """The configuration of a HunyuanImage autoencoder, or of one half, which the other mirrors."""
    flat = {key: over_images(shape) for key, shape in shapes.items()}
    encoder_widths, decoder_widths = level_widths(flat, "encoder.levels"), level_widths(flat, "decoder.levels")
    channels, latent = kl_image_channels(flat), kl_hidden_channels(flat, moments=2)
    known = changes_width_with_resolution(flat, "encoder.levels", "resample", encoder_widths)
    known = known or changes_width_with_resolution(flat, "decoder.levels", "resample", decoder_widths)
    if not (known and channels and latent):
        return None
    encoder_blocks, decoder_blocks = (highest(flat, rf"{half}\.levels\.\d+\.block\.(\d+)\.") for half in HALVES)
    config = HunyuanImageConfig(
        image_channels=channels,
        latent_channels=latent,
        encoder_widths=encoder_widths or decoder_widths[::-1],
        decoder_widths=decoder_widths or encoder_widths[::-1],
        encoder_blocks=encoder_blocks or max(1, decoder_blocks - 1),
        decoder_blocks=decoder_blocks or encoder_blocks + 1,
    )
    return config if can_be_built(config) else None


def changes_width_with_resolution(shapes: Shapes, levels: str, layer: str, widths: tuple[int, ...]) -> bool:
    """Whether a layer between levels outputs a quarter (encoder) or four times (decoder) of the next width, as
    rearranging 2x2 pixels into channels requires."""
    for i, following in enumerate(widths[1:]):
        shape = conv_shape(shapes, f"{levels}.{i}.{layer}.conv.weight")
        if shape and shape[0] != shape[1] and following in (4 * shape[0], shape[0] // 4):
            return True
    return False


def over_images(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a 2-D kernel; the published file has an additional time axis of size 1."""
    return (*shape[:2], *shape[3:]) if len(shape) == 5 and shape[2] == 1 else shape


def can_be_built(config: HunyuanImageConfig) -> bool:
    """Whether channels are divisible as groups, averages and repetitions require."""
    encoder, decoder, latent = config.encoder_widths, config.decoder_widths, config.latent_channels
    halvings = all(4 * a % b == 0 and b % 4 == 0 for a, b in itertools.pairwise(encoder))
    doublings = all(4 * b % a == 0 for a, b in itertools.pairwise(decoder))
    ends = encoder[-1] % (2 * latent) == 0 and decoder[0] % latent == 0
    return halvings and doublings and ends and all(width % NORM_GROUPS == 0 for width in (*encoder, *decoder))


def settings(config: HunyuanImageConfig, normalization: LatentNormalization | None) -> dict[str, Any]:
    """The `config.json` of AutoencoderKLHunyuanImage."""
    obstacles = mirror_obstacles(config) | {
        "a normalization that shifts latents or scales them by channel": normalization is not None
        and (len(normalization.scale) > 1 or any(normalization.shift)),
    }
    refuse_obstacles("AutoencoderKLHunyuanImage", obstacles, '"original" or "native"')
    return {
        "_class_name": "AutoencoderKLHunyuanImage",
        "block_out_channels": list(config.encoder_widths),
        "downsample_match_channel": True,
        "in_channels": config.image_channels,
        "latent_channels": config.latent_channels,
        "layers_per_block": config.encoder_blocks,
        "out_channels": config.image_channels,
        "sample_size": 384,
        "scaling_factor": diffusers_normalization(normalization)["scaling_factor"],
        "spatial_compression_ratio": config.geometry.factors[0],
        "upsample_match_channel": True,
    }


LAYOUTS = (
    Layout("original", "hunyuan-image", ORIGINAL),
    Layout("native", "hunyuan-image", same_names(ORIGINAL)),
    Layout("diffusers", "hunyuan-image", DIFFUSERS),
)
FAMILY = Family(
    name="hunyuan-image",
    config=HunyuanImageConfig,
    layouts=LAYOUTS,
    detect=detect_hunyuan_image,
    build=hunyuan_image.build,
    posterior_head=lambda _: DiagonalGaussian.from_moments,
    likelihood_head=lambda _: Laplace,
    diffusers=settings,
)

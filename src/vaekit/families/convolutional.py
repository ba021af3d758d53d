"""Layouts, detection and settings shared by the KL, asymmetric and vector-quantized families."""

import dataclasses
import re
from typing import Any, TypeVar

from vaekit.errors import UnknownVAE, WrongTensors
from vaekit.families.family import Fields, Shapes, conv_shape, first_shape, highest, refuse_obstacles
from vaekit.families.kl.net import KLConfig
from vaekit.families.layout import Rules, product
from vaekit.families.padding import REFLECT, stated_padding

Config = TypeVar("Config", bound=KLConfig)
PUBLISHED_GROUPS = 32
"""The number of groups of every GroupNorm in all published KL autoencoders. Shapes do not determine it; metadata takes
precedence."""
RESIDUAL = {name: name for name in ("norm1", "conv1", "norm2", "conv2")} | {"nin_shortcut": "conv_shortcut"}
ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
MATRICES = r".+\.attn.*\.weight"
"""diffusers stores the 1x1 convolutions of attention as linear layers: (c, c, 1, 1) -> (c, c)."""
OLD_ATTENTION = {"norm": "group_norm", "q": "query", "k": "key", "v": "value", "proj_out": "proj_attn"}
ENDS = {"conv_in": "conv_in", "norm_out": "conv_norm_out", "conv_out": "conv_out"}
QUANT_CONVS: Rules = (
    ("encoder.quant_conv.{p}", "quant_conv.{p}"),
    ("decoder.post_quant_conv.{p}", "post_quant_conv.{p}"),
)


def diffusers_kl(attention: dict[str, str]) -> Rules:
    """The rules of diffusers' AutoencoderKL, with current or old names of the attention layers."""
    return (
        *product("encoder", "encoder", ENDS),
        *product("encoder.down.{i}.block.{j}", "encoder.down_blocks.{i}.resnets.{j}", RESIDUAL),
        *product("encoder.down.{i}.attn.{j}", "encoder.down_blocks.{i}.attentions.{j}", attention),
        *product("encoder.down.{i}.downsample", "encoder.down_blocks.{i}.downsamplers.0", {"conv": "conv"}),
        *product("encoder.mid.block_1", "encoder.mid_block.resnets.0", RESIDUAL),
        *product("encoder.mid.attn_1", "encoder.mid_block.attentions.0", attention),
        *product("encoder.mid.block_2", "encoder.mid_block.resnets.1", RESIDUAL),
        *product("decoder", "decoder", ENDS),
        *product("decoder.mid.block_1", "decoder.mid_block.resnets.0", RESIDUAL),
        *product("decoder.mid.attn_1", "decoder.mid_block.attentions.0", attention),
        *product("decoder.mid.block_2", "decoder.mid_block.resnets.1", RESIDUAL),
        *product("decoder.up.{i}.block.{j}", "decoder.up_blocks.{~i}.resnets.{j}", RESIDUAL),
        *product("decoder.up.{i}.attn.{j}", "decoder.up_blocks.{~i}.attentions.{j}", attention),
        *product("decoder.up.{i}.upsample", "decoder.up_blocks.{~i}.upsamplers.0", {"conv": "conv"}),
        *QUANT_CONVS,
    )


def ldm(rules: Rules, outside: Rules = QUANT_CONVS) -> Rules:
    """LDM's names: the native ones, except for tensors outside the halves."""
    renamed = dict(outside)
    return tuple((native, renamed.get(native, native)) for native, _ in rules)


def convolutional(shapes: Shapes, moments: int) -> dict[str, Any] | None:
    """The fields of a KLConfig for nets whose encoder outputs `moments` values per latent value."""
    encoder_widths = level_widths(shapes, "encoder.down")
    decoder_widths = level_widths(shapes, "decoder.up")
    image_channels = kl_image_channels(shapes)
    hidden = kl_hidden_channels(shapes, moments)
    latent = kl_latent_channels(shapes, moments, hidden)
    if not (encoder_widths or decoder_widths) or not (image_channels and hidden and latent):
        return None
    encoder_blocks = highest(shapes, r"encoder\.down\.\d+\.block\.(\d+)\.")
    decoder_blocks = highest(shapes, r"decoder\.up\.\d+\.block\.(\d+)\.")
    encoder_attention = attention_levels(shapes, "encoder.down")
    decoder_attention = attention_levels(shapes, "decoder.up")
    quant_conv = any(key.startswith("encoder.quant_conv.") for key in shapes)
    post_quant_conv = any(key.startswith("decoder.post_quant_conv.") for key in shapes)
    return {
        "image_channels": image_channels,
        "latent_channels": latent,
        "hidden_channels": hidden,
        "encoder_widths": encoder_widths or decoder_widths,
        "decoder_widths": decoder_widths or encoder_widths,
        "encoder_blocks": encoder_blocks or max(1, decoder_blocks - 1),
        "decoder_blocks": decoder_blocks or encoder_blocks + 1,
        "encoder_attention": encoder_attention if encoder_widths else decoder_attention,
        "decoder_attention": decoder_attention if decoder_widths else encoder_attention,
        "mid_attention": any(".mid.attn_1." in key for key in shapes),
        "quant_conv": quant_conv if encoder_widths else post_quant_conv,
        "post_quant_conv": post_quant_conv if decoder_widths else quant_conv,
        "norm_groups": PUBLISHED_GROUPS,
    }


SPECTROGRAMS: dict[str, Any] = {
    "image_channels": 1,
    "latent_channels": 8,
    "encoder_widths": (128, 256, 512),
    "decoder_widths": (128, 256, 512),
    "encoder_blocks": 2,
    "decoder_blocks": 3,
    "encoder_attention": (),
    "decoder_attention": (),
    "quant_conv": True,
    "post_quant_conv": True,
}
"""The fields of AudioLDM's autoencoder of spectrograms. No published autoencoder of images has them; without a vocoder,
nothing else tells them apart."""


def is_of_spectrograms(fields: Fields) -> bool:
    """Whether these are the fields of AudioLDM's autoencoder."""
    return fields.items() >= SPECTROGRAMS.items()


def level_widths(shapes: Shapes, levels: str) -> tuple[int, ...]:
    """The width of each level, from any tensor of its first block; empty if one cannot be determined."""
    widths = []
    for i in range(highest(shapes, re.escape(levels) + r"\.(\d+)\.")):
        block = f"{levels}.{i}.block.0"
        shape = first_shape(shapes, *(f"{block}.{leaf}" for leaf in ("conv1.weight", "conv2.weight", "norm2.weight")))
        if shape is None:
            return ()
        widths.append(shape[0])
    return tuple(widths)


def attention_levels(shapes: Shapes, levels: str) -> tuple[int, ...]:
    pattern = re.compile(re.escape(levels) + r"\.(\d+)\.attn\.")
    return tuple(sorted({int(match[1]) for key in shapes if (match := pattern.match(key))}))


def kl_image_channels(shapes: Shapes) -> int | None:
    first, last = conv_shape(shapes, "encoder.conv_in.weight"), conv_shape(shapes, "decoder.conv_out.weight")
    return first[1] if first else last[0] if last else None


def kl_hidden_channels(shapes: Shapes, moments: int) -> int | None:
    decoded = conv_shape(shapes, "decoder.conv_in.weight")
    encoded = first_shape(shapes, "encoder.conv_out.weight", "encoder.conv_out.bias")
    return decoded[1] if decoded else encoded[0] // moments if encoded else None


def kl_latent_channels(shapes: Shapes, moments: int, hidden: int | None) -> int | None:
    before_decoder = conv_shape(shapes, "decoder.post_quant_conv.weight")
    after_encoder = first_shape(shapes, "encoder.quant_conv.weight", "encoder.quant_conv.bias")
    return before_decoder[1] if before_decoder else after_encoder[0] // moments if after_encoder else hidden


def with_stated_fields(config: Config, metadata: Fields, settings: Fields) -> Config:
    """Add the config fields that weights do not determine, if the file states them: norm groups and padding.

    Raises:
        UnknownVAE: the groups do not divide the widths: no such network can exist.
    """
    stated = (metadata.get("norm_groups"), settings.get("norm_num_groups"))
    groups = next((number for number in stated if type(number) is int and number > 0), config.norm_groups)
    widths = sorted({*config.encoder_widths, *config.decoder_widths})
    if any(width % groups for width in widths):
        raise UnknownVAE(
            f"This has the keys of a convolutional autoencoder with widths {', '.join(map(str, widths[:12]))}, which "
            f"are not divisible by {groups} norm groups.",
            "Expected the number of groups in the file's metadata or config.json: weights do not determine it.",
            'Add a config.json with the right "norm_num_groups" beside the file, and give the folder.',
        )
    return dataclasses.replace(config, norm_groups=groups, padding=stated_padding(metadata, settings) or config.padding)


def assumed_groups(config: KLConfig) -> list[str]:
    """A warning if the published number of norm groups is assumed for a network unlike any published one."""
    if config.norm_groups == PUBLISHED_GROUPS and min(config.encoder_widths) < 128:
        return [f"The number of norm groups is assumed to be {PUBLISHED_GROUPS}: weights do not determine it."]
    return []


def refuse_reflection(name: str, config: KLConfig) -> None:
    """Reject reflection padding for a class of diffusers, which has no setting for it.

    Raises:
        WrongTensors: this VAE has reflection padding.
    """
    if config.padding == REFLECT:
        raise WrongTensors(
            f"diffusers' {name} always pads with zeros, and this VAE pads by reflection: its borders would be wrong.",
            "",
            'Save it in the "ldm" or "native" layout; or with padding="zeros" (--padding zeros), and in diffusers set '
            'padding_mode = "reflect" on every convolution whose padding is not 0.',
        )


def block_types(config: KLConfig) -> dict[str, list[str]]:
    """diffusers' names for the levels, with and without attention inside."""
    down, up = range(len(config.encoder_widths)), reversed(range(len(config.decoder_widths)))
    return {
        "down_block_types": [f"{'Attn' * (i in config.encoder_attention)}DownEncoderBlock2D" for i in down],
        "up_block_types": [f"{'Attn' * (i in config.decoder_attention)}UpDecoderBlock2D" for i in up],
    }


def nets_settings(config: KLConfig, name: str, more_obstacles: dict[str, bool]) -> dict[str, Any]:
    """The settings that diffusers' classes with these nets share, if they can express the nets."""
    refuse_reflection(name, config)
    refuse_obstacles(
        name,
        more_obstacles
        | {
            "different widths in encoder and decoder": config.encoder_widths != config.decoder_widths,
            "a number of decoder blocks other than one more": config.decoder_blocks != config.encoder_blocks + 1,
        },
        '"ldm" or "native"',
    )
    return {
        "_class_name": name,
        "act_fn": "silu",
        "block_out_channels": list(config.encoder_widths),
        **block_types(config),
        "in_channels": config.image_channels,
        "out_channels": config.image_channels,
        "layers_per_block": config.encoder_blocks,
        "mid_block_add_attention": config.mid_attention,
        "norm_num_groups": config.norm_groups,
        "sample_size": 512,
    }

"""Asymmetric KL autoencoders: SD1's encoder with a larger decoder that can be conditioned on known image parts."""

from typing import Any

from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.families.asymmetric import net as asymmetric
from vaekit.families.asymmetric.net import AsymmetricConfig
from vaekit.families.convolutional import (
    ATTENTION,
    MATRICES,
    OLD_ATTENTION,
    assumed_groups,
    block_types,
    convolutional,
    diffusers_kl,
    ldm,
    refuse_reflection,
    with_stated_fields,
)
from vaekit.families.family import Family, Shapes, refuse_obstacles
from vaekit.families.layout import Layout, Rules, same_names
from vaekit.families.normalization import one_factor
from vaekit.families.padding import PADDINGS
from vaekit.normalization import LatentNormalization

CONDITION = "decoder.condition_encoder."
"""The prefix of the native keys of the condition encoder."""
LAYER = "layers.{i}.{p}"
DIFFUSERS_LEVELS = 4
"""The number of levels for which diffusers builds the condition encoder, regardless of the decoder."""


def detect_asymmetric(shapes: Shapes) -> AsymmetricConfig | None:
    """The configuration of an asymmetric autoencoder, or of its decoder (the encoder alone equals that of SD1)."""
    fields = convolutional(shapes, moments=2)
    return AsymmetricConfig(**fields) if fields else None


def settings(config: AsymmetricConfig, normalization: LatentNormalization | None) -> dict[str, Any]:
    """The `config.json` of AsymmetricAutoencoderKL."""
    name = "AsymmetricAutoencoderKL"
    widths = config.decoder_widths
    refuse_reflection("AsymmetricAutoencoderKL", config)
    refuse_obstacles(
        name,
        {
            "no 1x1 convolutions around the latent": not (config.quant_conv and config.post_quant_conv),
            "1x1 convolutions that change the number of channels": config.hidden_channels != config.latent_channels,
            "no attention in the middle": not config.mid_attention,
            "widths that do not double up to the last": widths
            != tuple(min(widths[0] * 2**i, widths[-1]) for i in range(DIFFUSERS_LEVELS)),
        },
        '"ldm" or "native"',
    )
    return {
        "_class_name": name,
        "act_fn": "silu",
        "down_block_out_channels": list(config.encoder_widths),
        "up_block_out_channels": list(config.decoder_widths),
        "layers_per_down_block": config.encoder_blocks,
        "layers_per_up_block": config.decoder_blocks - 1,
        "in_channels": config.image_channels,
        "out_channels": config.image_channels,
        "latent_channels": config.latent_channels,
        "norm_num_groups": config.norm_groups,
        "sample_size": 256,
        **block_types(config),
        **one_factor(normalization, name),
    }


def with_condition(trunks: Rules, foreign: str = CONDITION) -> Rules:
    """The rules of the trunks, and of the condition encoder with this prefix."""
    return (*trunks, (CONDITION + LAYER, foreign + LAYER))


TRUNK, OLD_TRUNK = (diffusers_kl(attention) for attention in (ATTENTION, OLD_ATTENTION))
DIFFUSERS = with_condition(TRUNK)
LAYOUTS = (
    # The published checkpoints also contain layers of which the original code uses only the widths.
    Layout("ldm", "asymmetric", with_condition(ldm(TRUNK), "decoder.encoder."), unused=("decoder.up_layers.",)),
    Layout("native", "asymmetric", same_names(DIFFUSERS)),
    Layout("diffusers", "asymmetric", DIFFUSERS, matrices=MATRICES),
    Layout("diffusers-old", "asymmetric", with_condition(OLD_TRUNK), matrices=MATRICES),
)
FAMILY = Family(
    name="asymmetric",
    config=AsymmetricConfig,
    layouts=LAYOUTS,
    detect=detect_asymmetric,
    build=asymmetric.build,
    posterior_head=lambda _: DiagonalGaussian.from_moments,
    likelihood_head=lambda _: Laplace,
    complete=with_stated_fields,
    assumed=assumed_groups,
    diffusers=settings,
    paddings=PADDINGS,
    requires=(CONDITION,),
)

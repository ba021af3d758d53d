"""KL autoencoders: SD1, SDXL, SD3, FLUX.1, FLUX.2, CogView, the x4 upscaler and the LDM originals."""

import dataclasses
from typing import Any

from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.families.convolutional import (
    ATTENTION,
    MATRICES,
    OLD_ATTENTION,
    assumed_groups,
    convolutional,
    diffusers_kl,
    is_of_spectrograms,
    ldm,
    nets_settings,
    with_stated_fields,
)
from vaekit.families.family import Family, Shapes
from vaekit.families.kl import net as kl
from vaekit.families.kl.net import KLConfig
from vaekit.families.layout import Layout, Rules, same_names
from vaekit.families.normalization import (
    BATCH_NORM,
    EPSILON,
    PATCH,
    STATISTICS,
    diffusers_normalization,
    statistics_of,
)
from vaekit.families.padding import PADDINGS
from vaekit.normalization import LatentNormalization


def detect_kl(shapes: Shapes) -> KLConfig | None:
    """The configuration of a KL autoencoder, or of one half, which the other is assumed to mirror; None for AudioLDM's,
    which is of spectrograms."""
    fields = convolutional(shapes, moments=2)
    return None if fields is None or is_of_spectrograms(fields) else KLConfig(**fields)


def half_alone(rules: Rules, half: str) -> Rules:
    """The native names of one half without its own prefix, as in the state dict of that half."""
    return (
        tuple((native, native.removeprefix(half + ".")) for native, _ in rules if native.startswith(half + "."))
        + STATISTICS
    )


def settings(config: KLConfig, normalization: LatentNormalization | None) -> dict[str, Any]:
    """The `config.json` of AutoencoderKL, or of the class for FLUX.2."""
    if statistics_of(normalization, config.latent_channels):
        return _autoencoder_kl_flux2(config)
    return _autoencoder_kl(config) | diffusers_normalization(normalization)


def _autoencoder_kl_flux2(config: KLConfig) -> dict[str, Any]:
    """The class with batch-norm statistics, whose decoder may have other widths."""
    same_widths = dataclasses.replace(config, decoder_widths=config.encoder_widths)
    return _autoencoder_kl(same_widths) | {
        "_class_name": "AutoencoderKLFlux2",
        "batch_norm_eps": EPSILON,
        "decoder_block_out_channels": list(config.decoder_widths),
        "patch_size": [PATCH, PATCH],
    }


def _autoencoder_kl(config: KLConfig) -> dict[str, Any]:
    between = config.hidden_channels != config.latent_channels
    return nets_settings(config, "AutoencoderKL", {"1x1 convolutions that change the number of channels": between}) | {
        "latent_channels": config.latent_channels,
        "use_quant_conv": config.quant_conv,
        "use_post_quant_conv": config.post_quant_conv,
    }


KL, OLD_KL = ((*diffusers_kl(attention), *STATISTICS) for attention in (ATTENTION, OLD_ATTENTION))
LAYOUTS = (
    Layout("ldm", "kl", ldm(KL)),
    Layout("native", "kl", same_names(KL)),
    Layout("diffusers", "kl", KL, matrices=MATRICES),
    Layout("diffusers-old", "kl", OLD_KL, matrices=MATRICES),
    Layout(
        "bare-encoder",
        "kl",
        half_alone(KL, "encoder"),
        has=("down.0.block.0.conv1.weight",),
        lacks=("up.0.block.0.conv1.weight",),
        any_prefix=False,
    ),
    Layout(
        "bare-decoder",
        "kl",
        half_alone(KL, "decoder"),
        has=("up.0.block.0.conv1.weight",),
        lacks=("down.0.block.0.conv1.weight",),
        any_prefix=False,
    ),
)
FAMILY = Family(
    name="kl",
    config=KLConfig,
    layouts=LAYOUTS,
    detect=detect_kl,
    build=kl.build,
    posterior_head=lambda _: DiagonalGaussian.from_moments,
    likelihood_head=lambda _: Laplace,
    complete=with_stated_fields,
    assumed=assumed_groups,
    diffusers=settings,
    normalization_tensors=BATCH_NORM,
    paddings=PADDINGS,
)

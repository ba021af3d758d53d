"""AudioLDM's autoencoder: names, detector and settings.

A KL autoencoder of grayscale images has the same tensors. It is AudioLDM's if a vocoder belongs to it, in the same file
or in the folder `vocoder` beside its folder; or if it has the widths and channels of the published ones.
"""

import dataclasses
from typing import Any

from vaekit.audio_format import MAX_SAMPLE_RATE, AudioFormat
from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.errors import UnknownVAE
from vaekit.families.audioldm import net as audioldm
from vaekit.families.audioldm.net import AudioLDMConfig
from vaekit.families.convolutional import (
    ATTENTION,
    MATRICES,
    OLD_ATTENTION,
    convolutional,
    diffusers_kl,
    is_of_spectrograms,
    ldm,
    nets_settings,
)
from vaekit.families.convolutional import with_stated_fields as with_stated_groups
from vaekit.families.family import Family, Fields, Shapes
from vaekit.families.layout import HALVES, Layout, Rules, same_names
from vaekit.families.normalization import one_factor
from vaekit.families.vocoders import PREFIX, detect_vocoder, no_vocoder, vocoder_rules, with_stated_vocoder
from vaekit.normalization import LatentNormalization

NAME, VOCODER_NAME = "AutoencoderKL", "SpeechT5HifiGan"
STATISTICS = ("mean", "scale")
"""Vectors in the file of a vocoder, which AudioLDM's does not use."""
RATES = ("sampling_rate", "sample_rate")
TRANSFORMERS = {
    "conv_in": "conv_pre",
    "upsamplers.{i}": "upsampler.{i}",
    "resnets.{i}": "resblocks.{i}",
    "conv_out": "conv_post",
}
ORIGINAL = TRANSFORMERS | {"upsamplers.{i}": "ups.{i}"}


def inside(rules: Rules) -> Rules:
    """The rules of the KL autoencoder for its place in this one."""
    places = {f"{half}.": f"{half}.net." for half in HALVES}
    return tuple(
        (next(native.replace(own, place, 1) for own, place in places.items() if native.startswith(own)), foreign)
        for native, foreign in rules
    )


def behind(names: dict[str, str]) -> Rules:
    """The rules of the vocoder, with the names of its parts."""
    named = {own: f"vocoder.{part}" for own, part in names.items()}
    return (*vocoder_rules(PREFIX, named), *((PREFIX + key, f"vocoder.{key}") for key in STATISTICS))


KL = diffusers_kl(ATTENTION)
DIFFUSERS = (*inside(KL), *behind(TRANSFORMERS))
OLD_DIFFUSERS = (*inside(diffusers_kl(OLD_ATTENTION)), *behind(TRANSFORMERS))


def detect_audioldm(shapes: Shapes) -> AudioLDMConfig | None:
    """The configuration of such an autoencoder, or of one half, which the other is assumed to mirror."""
    fields = convolutional({key.replace(".net.", ".", 1): shape for key, shape in shapes.items()}, moments=2)
    if fields is None or fields["image_channels"] != 1 or not any(".net." in key for key in shapes):
        return None
    if not any(key.startswith(PREFIX) for key in shapes):
        return AudioLDMConfig(**fields) if is_of_spectrograms(fields) else None
    vocoder = detect_vocoder(shapes)
    levels = len(fields["encoder_widths"])
    if vocoder is None or vocoder.out_channels != 1 or vocoder.in_channels % 2 ** (levels - 1):
        return None
    return AudioLDMConfig(**fields, bins=vocoder.in_channels, hop=vocoder.hop, vocoder=vocoder)


def with_stated_fields(config: AudioLDMConfig, metadata: Fields, settings: Fields) -> AudioLDMConfig:
    """Add what weights do not determine, if the file or the vocoder's config.json states it.

    Raises:
        UnknownVAE: no such network can exist.
    """
    config = with_stated_groups(config, metadata, settings)
    around, own = (
        each if isinstance(each, dict) else {} for each in (settings.get("vocoder"), metadata.get("vocoder"))
    )
    stated = (metadata.get("rate"), *(around.get(name) for name in RATES))
    rate = next((each for each in stated if type(each) is int and 0 < each <= MAX_SAMPLE_RATE), config.rate)
    vocoder = config.vocoder and with_stated_vocoder(config.vocoder, around | own)
    if vocoder is not None:
        return dataclasses.replace(config, rate=rate, vocoder=vocoder, hop=vocoder.hop)
    bins, hop = (
        value if type(value := metadata.get(name)) is int and value > 0 else getattr(config, name)
        for name in ("bins", "hop")
    )
    if bins % config.factor:
        raise UnknownVAE(
            f"The metadata states spectrograms of {bins} bins.",
            f"Expected a multiple of {config.factor}, by which the network divides them.",
            "Get the file again.",
        )
    return dataclasses.replace(config, rate=rate, bins=bins, hop=hop)


def settings(config: AudioLDMConfig, normalization: LatentNormalization | None) -> dict[str, Any]:
    """The `config.json` of AutoencoderKL, with that of the vocoder as one more entry."""
    between = config.hidden_channels != config.latent_channels
    entries = nets_settings(config, NAME, {"1x1 convolutions that change the number of channels": between}) | {
        "latent_channels": config.latent_channels,
        "use_quant_conv": config.quant_conv,
        "use_post_quant_conv": config.post_quant_conv,
        **one_factor(normalization, NAME),
    }
    vocoder = config.vocoder
    if vocoder is None:
        return entries
    return entries | {
        "vocoder": {
            "architectures": [VOCODER_NAME],
            "leaky_relu_slope": vocoder.slope,
            "model_in_dim": vocoder.in_channels,
            "normalize_before": vocoder.normalized,
            "resblock_dilation_sizes": [list(row) for row in vocoder.dilations],
            "resblock_kernel_sizes": list(vocoder.kernels),
            "sampling_rate": config.rate,
            "upsample_initial_channel": vocoder.hidden_channels,
            "upsample_kernel_sizes": list(vocoder.upsample_kernels),
            "upsample_rates": list(vocoder.upsample_factors),
        }
    }


LAYOUTS = (
    Layout("ldm", "audioldm", (*inside(ldm(KL)), *behind(ORIGINAL)), beside=("vocoder.",)),
    Layout("native", "audioldm", same_names(DIFFUSERS), beside=(PREFIX,)),
    Layout("diffusers", "audioldm", DIFFUSERS, matrices=MATRICES, beside=("vocoder.",)),
    Layout("diffusers-old", "audioldm", OLD_DIFFUSERS, matrices=MATRICES, beside=("vocoder.",)),
)
FAMILY = Family(
    name="audioldm",
    config=AudioLDMConfig,
    layouts=LAYOUTS,
    detect=detect_audioldm,
    build=audioldm.build,
    posterior_head=lambda _: DiagonalGaussian.from_moments,
    likelihood_head=lambda _: Laplace,
    complete=with_stated_fields,
    diffusers=settings,
    audio=lambda config: AudioFormat(config.rate, config.image_channels),
    limits=lambda config: no_vocoder(config.vocoder is not None, VOCODER_NAME),
)

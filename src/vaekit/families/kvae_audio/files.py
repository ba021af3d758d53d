"""KVAE-Audio: names, detector and settings."""

import dataclasses
from typing import Any

from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.errors import UnknownVAE
from vaekit.families.family import Family, Fields, Shapes, first_shape, refuse_obstacles
from vaekit.families.kvae_audio import net as kvae_audio
from vaekit.families.kvae_audio.net import KVAEAudioConfig
from vaekit.families.layout import Layout, Rules, product
from vaekit.families.waveform import audio_format
from vaekit.families.waveform_files import (
    NORMED,
    PARAMETRIZED,
    assumed_rate,
    conv,
    doubling_obstacles,
    kernel,
    named,
    refuse_normalization,
    waveform_fields,
    width,
    with_sample_rate,
)
from vaekit.normalization import LatentNormalization

NAME = "AutoencoderKLKVAEAudio"
PUBLISHED_RATES = {(2, 3, 4, 5, 8): 48_000}
PUBLISHED_HEADS = 8


def names(normed: dict[str, str], prefixes: tuple[str, str] = ("", "")) -> Rules:
    """The names in diffusers, where the layers at the latent are outside the halves, or native ones."""
    encoder, decoder = prefixes
    projections = {f"to_{each}": f"to_{each}" for each in "qkv"}
    out = {"to_out": "to_out" if encoder else "to_out.0"}
    return (
        *named(normed),
        *product("encoder.attn", f"{encoder}attn", projections | out),
        *conv("encoder.in_proj", f"{encoder}in_proj", normed),
        *conv("decoder.out_proj", f"{decoder}out_proj", normed),
    )


def detect_kvae_audio(shapes: Shapes) -> KVAEAudioConfig | None:
    """The configuration of a KVAE-Audio, or of one half, which the other is assumed to mirror; the number of heads is
    that of the published model if it divides the channels, else 1."""
    fields = waveform_fields(shapes)
    inside, outside = kernel(shapes, "decoder.out_proj"), kernel(shapes, "encoder.in_proj")
    latent = inside[1] if inside else width(shapes, "encoder.in_proj") // 2
    attention = first_shape(shapes, "encoder.attn.to_q.weight", "encoder.attn.to_q.bias")
    hidden = inside[0] if inside else outside[1] if outside else attention[0] if attention else 0
    if fields is None or not latent or not hidden or any(key.endswith(".beta") for key in shapes):
        return None
    return KVAEAudioConfig(
        latent_channels=latent,
        sample_rate=PUBLISHED_RATES.get(fields["strides"], 0),
        hidden_channels=hidden,
        heads=1 if hidden % PUBLISHED_HEADS else PUBLISHED_HEADS,
        **fields,
    )


def with_stated_fields(config: KVAEAudioConfig, metadata: Fields, settings: Fields) -> KVAEAudioConfig:
    """Add the number of heads and the sample rate, if the file states them.

    Raises:
        UnknownVAE: the heads do not divide the channels, or the sample rate is impossible.
    """
    stated = (metadata.get("heads"), settings.get("attn_num_heads"))
    heads = next((number for number in stated if type(number) is int and number > 0), config.heads)
    if config.hidden_channels % heads:
        raise UnknownVAE(
            f"The file states {heads} attention heads, which do not divide {config.hidden_channels} channels.",
            "Expected the number of heads of this network: weights do not determine it.",
            "Correct it in its config.json, or give the path of the weights file alone.",
        )
    return with_sample_rate(dataclasses.replace(config, heads=heads), metadata, settings)


def assumed(config: KVAEAudioConfig) -> list[str]:
    """Warnings about the sample rate and the number of heads of a network unlike the published one."""
    return [
        *assumed_rate(config),
        f"The number of attention heads is taken to be {config.heads} unless the file states it: weights do not "
        "determine it.",
    ]


def settings(config: KVAEAudioConfig, normalization: LatentNormalization | None) -> dict[str, Any]:
    """The `config.json` of AutoencoderKLKVAEAudio.

    Raises:
        WrongTensors: the class cannot express the network, or a normalization, for which it has no setting.
    """
    refuse_obstacles(NAME, doubling_obstacles(config), '"native"')
    refuse_normalization(NAME, normalization)
    rate = {"sample_rate": config.sample_rate} if config.sample_rate else {}
    return {
        "_class_name": NAME,
        "attn_num_heads": config.heads,
        "codebook_dim": config.latent_channels,
        "decoder_dim": config.decoder_widths[0],
        "decoder_rates": list(config.strides[::-1]),
        "encoder_dim": config.encoder_widths[0],
        "encoder_rates": list(config.strides),
        "latent_dim": config.hidden_channels,
        "num_channels": config.audio_channels,
    } | rate


LAYOUTS = (
    Layout("diffusers", "kvae-audio", names(PARAMETRIZED)),
    Layout("native", "kvae-audio", names(NORMED, ("encoder.", "decoder."))),
    Layout("diffusers-normed", "kvae-audio", names(NORMED)),
)
FAMILY = Family(
    name="kvae-audio",
    config=KVAEAudioConfig,
    layouts=LAYOUTS,
    detect=detect_kvae_audio,
    build=kvae_audio.build,
    posterior_head=lambda _: DiagonalGaussian.from_moments,
    likelihood_head=lambda _: Laplace,
    complete=with_stated_fields,
    assumed=assumed,
    diffusers=settings,
    audio=audio_format,
)

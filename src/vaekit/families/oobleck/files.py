"""Oobleck: names in diffusers and in stable-audio-tools, detector and settings."""

from typing import Any

from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.families.family import Family, Shapes, first_shape, refuse_obstacles
from vaekit.families.layout import Layout, Rules
from vaekit.families.oobleck import net as oobleck
from vaekit.families.oobleck.net import OobleckConfig
from vaekit.families.waveform import audio_format
from vaekit.families.waveform_files import (
    NORMED,
    PARAMETRIZED,
    SNAKES,
    assumed_rate,
    decoder_sequence,
    encoder_sequence,
    kernel,
    mirror_obstacles,
    multiples,
    named,
    refuse_normalization,
    waveform_fields,
    with_sample_rate,
)
from vaekit.normalization import LatentNormalization

NAME = "AutoencoderOobleck"
PUBLISHED_RATES = {(2, 4, 4, 8, 8): 44_100, (2, 4, 4, 6, 10): 48_000}
"""Sample rates by strides: Stable Audio's, and those of ACE-Step 1.5 and YuE 2."""


def authors(normed: dict[str, str]) -> Rules:
    """The names of stable-audio-tools, which ComfyUI has, too."""
    return (
        *encoder_sequence("encoder.layers", "layers", normed),
        *decoder_sequence("decoder.layers", "layers", normed),
    )


def detect_oobleck(shapes: Shapes) -> OobleckConfig | None:
    """The configuration of an Oobleck autoencoder, or of one half, which the other is assumed to mirror. Its
    activations have amplitudes, `beta`. A mono decoder alone is taken to be LongCat's, which has the same tensors."""
    fields = waveform_fields(shapes)
    latent = latent_channels(shapes)
    if fields is None or not latent or any(stride % 2 for stride in fields["strides"]):
        return None
    mono_decoder = fields["audio_channels"] == 1 and not any(key.startswith("encoder.") for key in shapes)
    if not any(key.endswith(".beta") for key in shapes) or mono_decoder:
        return None
    return OobleckConfig(latent_channels=latent, sample_rate=PUBLISHED_RATES.get(fields["strides"], 0), **fields)


def latent_channels(shapes: Shapes) -> int:
    """The channels of latents: the decoder's inputs, or half of the encoder's outputs; 0 if no tensor tells."""
    inputs = kernel(shapes, "decoder.conv1")
    outputs = first_shape(shapes, *(f"encoder.conv2.{name}" for name in ("weight_v", "weight", "bias")))
    return inputs[1] if inputs else outputs[0] // 2 if outputs else 0


def settings(config: OobleckConfig, normalization: LatentNormalization | None) -> dict[str, Any]:
    """The `config.json` of AutoencoderOobleck.

    Raises:
        WrongTensors: the class cannot express the network, or a normalization, for which it has no setting.
    """
    first, last = config.encoder_widths[0], config.decoder_widths[-1]
    down, up = (multiples(widths) for widths in (config.encoder_widths, config.decoder_widths[::-1]))
    refuse_obstacles(
        NAME,
        mirror_obstacles(config)
        | {
            "different widths in encoder and decoder, relative to the first": down != up,
            "widths that are not multiples of the first": down is None,
            f"{first} channels after the first convolution for {config.latent_channels} latent channels": first
            != 2 * config.latent_channels,
        },
        '"native" or "original"',
    )
    refuse_normalization(NAME, normalization)
    rate = {"sampling_rate": config.sample_rate} if config.sample_rate else {}
    return {
        "_class_name": NAME,
        "audio_channels": config.audio_channels,
        "channel_multiples": down,
        "decoder_channels": last,
        "decoder_input_channels": config.latent_channels,
        "downsampling_ratios": list(config.strides),
        "encoder_hidden_size": first,
    } | rate


LAYOUTS = (
    Layout("diffusers", "oobleck", named()),
    Layout("native", "oobleck", named()),
    Layout("original", "oobleck", authors(NORMED), vectors=SNAKES),
    Layout("original-parametrized", "oobleck", authors(PARAMETRIZED), vectors=SNAKES),
    Layout("diffusers-parametrized", "oobleck", named(PARAMETRIZED)),
)
FAMILY = Family(
    name="oobleck",
    config=OobleckConfig,
    layouts=LAYOUTS,
    detect=detect_oobleck,
    build=oobleck.build,
    posterior_head=lambda _: DiagonalGaussian.from_softplus,
    likelihood_head=lambda _: Laplace,
    complete=with_sample_rate,
    assumed=assumed_rate,
    diffusers=settings,
    audio=audio_format,
)

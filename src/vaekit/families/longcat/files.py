"""LongCat-AudioDiT: names, detector and settings."""

from typing import Any

from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.errors import NotRunnable
from vaekit.families.family import Family, Fields, Shapes, refuse_obstacles
from vaekit.families.layout import Layout, Rules, same_names
from vaekit.families.longcat import net as longcat
from vaekit.families.longcat.net import LongCatConfig
from vaekit.families.normalization import one_factor
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
    waveform_fields,
    width,
    with_sample_rate,
)
from vaekit.normalization import LatentNormalization

NAME = "LongCatAudioDiTVae"
PUBLISHED_HOP, PUBLISHED_RATE = 2048, 24_000
PUBLISHED_SETTINGS = {
    "act_fn": "snake",
    "use_snake": True,
    "downsample_shortcut": "averaging",
    "upsample_shortcut": "duplicating",
    "out_shortcut": "averaging",
    "in_shortcut": "duplicating",
    "final_tanh": False,
}
"""Settings of the class of which only these values run; weights do not determine them."""


def names(normed: dict[str, str]) -> Rules:
    """The names in diffusers, which are the authors'. The encoder has no activation before its last convolution."""
    return (
        *encoder_sequence("encoder.layers", "layers", normed, activation=False),
        *decoder_sequence("decoder.layers", "layers", normed),
    )


def detect_longcat(shapes: Shapes) -> LongCatConfig | None:
    """The configuration of the autoencoder, or of one half, which the other is assumed to mirror. A decoder alone has
    the tensors of Oobleck's; of these, mono ones are taken to be LongCat's."""
    fields = waveform_fields(shapes)
    inputs = kernel(shapes, "decoder.conv1")
    latent = inputs[1] if inputs else width(shapes, "encoder.conv2") // 2
    if fields is None or not latent or any(key.startswith("encoder.snake1.") for key in shapes):
        return None
    if not any(key.endswith(".beta") for key in shapes) or not (has_encoder(shapes) or fields["audio_channels"] == 1):
        return None
    try:
        config = LongCatConfig(latent_channels=latent, sample_rate=0, **fields)
    except ValueError:
        return None
    rate = PUBLISHED_RATE if config.hop == PUBLISHED_HOP else 0
    return LongCatConfig(latent_channels=latent, sample_rate=rate, **fields)


def has_encoder(shapes: Shapes) -> bool:
    """Whether the encoder is present."""
    return any(key.startswith("encoder.") for key in shapes)


def with_stated_fields(config: LongCatConfig, metadata: Fields, settings: Fields) -> LongCatConfig:
    """Add the sample rate, if the file states it.

    Raises:
        NotRunnable: config.json states another activation, other shortcuts or a bound of the output.
        UnknownVAE: the sample rate is impossible.
    """
    others = {
        name: settings[name] for name, value in PUBLISHED_SETTINGS.items() if settings.get(name) not in (None, value)
    }
    if others:
        stated = ", ".join(f"{name} = {value!r}" for name, value in others.items())
        raise NotRunnable(
            f"This is a {NAME} with {stated}, by its config.json.",
            "Expected the published activation and shortcuts.",
            f"Run it with diffusers' {NAME}.",
        )
    return with_sample_rate(config, metadata, settings)


def normalization_of_settings(settings: Fields) -> LatentNormalization | None:
    """The normalization in a config.json: latents are raw ones divided by `scale`."""
    scale = settings.get("scale")
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not scale > 0:
        return None
    return LatentNormalization.from_values([0.0], [1 / scale])


def settings(config: LongCatConfig, normalization: LatentNormalization | None) -> dict[str, Any]:
    """The `config.json` of LongCatAudioDiTVae. An unknown normalization is null.

    Raises:
        WrongTensors: the class cannot express the network, or the normalization.
    """
    down, up = multiples(config.encoder_widths), multiples(config.decoder_widths[::-1])
    refuse_obstacles(
        NAME,
        mirror_obstacles(config)
        | {
            "different widths in encoder and decoder": config.encoder_widths != config.decoder_widths[::-1],
            "widths that are not multiples of the first": down is None or up is None,
        },
        '"native"',
    )
    factor = one_factor(normalization, NAME)["scaling_factor"]
    rate = {"sample_rate": config.sample_rate} if config.sample_rate else {}
    return {
        "_class_name": NAME,
        "c_mults": down,
        "channels": config.encoder_widths[0],
        "downsampling_ratio": config.hop,
        "encoder_latent_dim": 2 * config.latent_channels,
        "in_channels": config.audio_channels,
        "latent_dim": config.latent_channels,
        "scale": None if factor is None else float(f"{1 / factor:.12g}"),
        "strides": list(config.strides),
    } | rate


LAYOUTS = (
    Layout("diffusers", "longcat", names(NORMED), vectors=SNAKES),
    Layout("native", "longcat", same_names(names(NORMED))),
    Layout("diffusers-parametrized", "longcat", names(PARAMETRIZED), vectors=SNAKES),
)
FAMILY = Family(
    name="longcat",
    config=LongCatConfig,
    layouts=LAYOUTS,
    detect=detect_longcat,
    build=longcat.build,
    posterior_head=lambda _: DiagonalGaussian.from_softplus,
    likelihood_head=lambda _: Laplace,
    complete=with_stated_fields,
    assumed=assumed_rate,
    diffusers=settings,
    normalization_from_settings=normalization_of_settings,
    audio=audio_format,
)

"""VibeVoice's acoustic tokenizer: names in transformers, which are the native ones, and the detector."""

import dataclasses
import math

from vaekit.distributions import Laplace
from vaekit.errors import UnknownVAE
from vaekit.families.family import Family, Fields, Shapes, highest
from vaekit.families.layout import HALVES, Layout, Rules, leaves, product
from vaekit.families.vibevoice import net as vibevoice
from vaekit.families.vibevoice.net import VibeVoiceConfig, audio_format
from vaekit.families.waveform import ASSUMED_RATE
from vaekit.families.waveform_files import agreed, kernel, stated_rate, width

PUBLISHED_RATES: dict[tuple[int, ...], int] = {(2, 2, 4, 5, 5, 8): 24_000}
PUBLISHED_STD = 0.625
BLOCK = {"mixer.conv": "mixer.conv", "ffn.linear1": "ffn.linear1", "ffn.linear2": "ffn.linear2"}
BLOCK_LEAVES = {name: name for name in ("norm.weight", "ffn_norm.weight", "gamma", "ffn_gamma")}


def names() -> Rules:
    """The rules of both halves."""
    rules: Rules = ()
    for half in HALVES:
        level = f"{half}.conv_layers.{{i}}"
        resample = "conv.conv" if half == "encoder" else "convtr.convtr"
        rules += (
            *product(f"{half}.stem", f"{half}.stem", {"conv.conv": "conv.conv"}),
            *product(level, level, {resample: resample}),
            *product(half, half, {"head.conv": "head.conv"}),
        )
        for stage in (f"{half}.stem.stage.{{j}}", f"{level}.stage.{{j}}"):
            rules += (*product(stage, stage, BLOCK), *leaves(stage, stage, BLOCK_LEAVES))
    return rules


Half = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Widths, depths and strides of a half, in the order in which its stages run."""


def half_of(shapes: Shapes, half: str) -> Half | None:
    """What the tensors of a half determine; None if it is missing, or a width is."""
    resample = "conv.conv" if half == "encoder" else "convtr.convtr"
    stages = [f"{half}.conv_layers.{i}" for i in range(highest(shapes, rf"{half}\.conv_layers\.(\d+)\."))]
    convs = [f"{stage}.{resample}" for stage in stages]
    widths = (
        width(shapes, f"{half}.stem.conv.conv"),
        *(width(shapes, name, transposed=half == "decoder") for name in convs),
    )
    paths = (rf"{half}\.stem", *(rf"{half}\.conv_layers\.{i}" for i in range(len(stages))))
    depths = tuple(highest(shapes, rf"{path}\.stage\.(\d+)\.") for path in paths)
    sizes = [(kernel(shapes, name) or (0, 0, 0))[2] for name in convs]
    if not stages or not all(widths) or any(size % 2 for size in sizes):
        return None
    return widths, depths, tuple(size // 2 for size in sizes)


def mirrored(half: Half | None) -> Half:
    """The other half."""
    widths, depths, strides = half or ((), (), ())
    return widths[::-1], depths[::-1], strides[::-1]


def detect_vibevoice(shapes: Shapes) -> VibeVoiceConfig | None:
    """The configuration of the tokenizer, or of one half, which the other is assumed to mirror."""
    encoder, decoder = half_of(shapes, "encoder"), half_of(shapes, "decoder")
    if encoder is None and decoder is None:
        return None
    down, down_depths, strides = encoder or mirrored(decoder)
    up, up_depths, others = decoder or mirrored(encoder)
    first, last = kernel(shapes, "encoder.stem.conv.conv"), kernel(shapes, "decoder.head.conv")
    inputs = kernel(shapes, "decoder.stem.conv.conv")
    latent = inputs[1] if inputs else width(shapes, "encoder.head.conv")
    size = next((shape[2] for shape in (first, inputs, last) if shape), 0)
    channels = first[1] if first else last[0] if last else 0
    factors = agreed(strides, others[::-1])
    if len(down) != len(up) or not (latent and size and channels and factors):
        return None
    return VibeVoiceConfig(
        audio_channels=channels,
        latent_channels=latent,
        encoder_widths=down,
        decoder_widths=up[::-1],
        strides=factors,
        encoder_depths=down_depths,
        decoder_depths=up_depths[::-1],
        kernel=size,
        expansion=expansion_of(shapes),
        std=PUBLISHED_STD,
        sample_rate=PUBLISHED_RATES.get(factors, 0),
    )


def expansion_of(shapes: Shapes) -> int:
    """The ratio of the widths of the first perceptron; 4, the published one, if there is none."""
    shape = next((shape for key, shape in shapes.items() if key.endswith(".ffn.linear1.weight")), None)
    return max(1, shape[0] // shape[1]) if shape and len(shape) == 2 and shape[1] else 4


def with_stated_fields(config: VibeVoiceConfig, metadata: Fields, settings: Fields) -> VibeVoiceConfig:
    """Add the standard deviation and the sample rate, if the file states them.

    Raises:
        UnknownVAE: one of them is impossible.
    """
    stated = next((each for each in (metadata.get("std"), settings.get("vae_std")) if each is not None), config.std)
    if type(stated) not in (int, float) or not 0 < stated < math.inf:
        raise UnknownVAE(
            f"The file states a standard deviation of latents of {stated!r:.40}.",
            "Expected a positive number.",
            "Correct vae_std in its config.json, or give the path of the weights file alone.",
        )
    return dataclasses.replace(
        config, std=float(stated), sample_rate=stated_rate(metadata, settings) or config.sample_rate
    )


def assumed(config: VibeVoiceConfig) -> list[str]:
    """Warnings about the sample rate and the standard deviation of an unpublished network."""
    rate = [f"The sample rate is assumed to be {ASSUMED_RATE} Hz: weights do not determine it."]
    return [
        *([] if config.sample_rate else rate),
        f"The standard deviation of latents is taken to be {config.std:g} unless the file states it.",
    ]


LAYOUTS = (Layout("native", "vibevoice", names()), Layout("transformers", "vibevoice", names()))
FAMILY = Family(
    name="vibevoice",
    config=VibeVoiceConfig,
    layouts=LAYOUTS,
    detect=detect_vibevoice,
    build=vibevoice.build,
    posterior_head=vibevoice.posterior,
    likelihood_head=lambda _: Laplace,
    complete=with_stated_fields,
    assumed=assumed,
    audio=audio_format,
)

"""Names, shapes and settings of convolutional autoencoders of waveforms; see `waveform.py`."""

import dataclasses
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeVar

from vaekit.audio_format import MAX_SAMPLE_RATE
from vaekit.errors import UnknownVAE, WrongTensors, printable
from vaekit.families.family import Fields, Shapes, first_shape, highest
from vaekit.families.layout import Rules, leaves
from vaekit.families.waveform import ASSUMED_RATE, WaveformConfig
from vaekit.normalization import LatentNormalization

Config = TypeVar("Config", bound=WaveformConfig)
HalfFields = tuple[tuple[int, ...], tuple[int, ...]]
"""The widths and the strides of a half."""
NORMED = {"weight_g": "weight_g", "weight_v": "weight_v"}
"""The names of norms and directions: native, and of `torch.nn.utils.weight_norm`."""
PARAMETRIZED = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
"""Those of `torch.nn.utils.parametrizations.weight_norm`."""
SNAKES = r".+\.(?:alpha|beta)"
"""The native keys of the parameters of activations, which some layouts store as vectors."""
UNITS = ("res_unit1", "res_unit2", "res_unit3")
RATES = ("sample_rate", "sampling_rate")
"""The names of the sample rate in a config.json."""


def conv(native: str, foreign: str, normed: dict[str, str]) -> Rules:
    """The rules of a convolution, with or without weight normalization."""
    return ((f"{native}.{{p}}", f"{foreign}.{{p}}"), *leaves(native, foreign, normed))


def snake(native: str, foreign: str) -> Rules:
    """The rules of an activation."""
    return leaves(native, foreign, {"alpha": "alpha", "beta": "beta"})


def unit(native: str, foreign: str, names: Sequence[str], normed: dict[str, str]) -> Rules:
    """The rules of a residual unit, given the foreign names of its four layers."""
    first, inside, second, last = (f"{foreign}.{name}" for name in names)
    return (
        *snake(f"{native}.snake1", first),
        *conv(f"{native}.conv1", inside, normed),
        *snake(f"{native}.snake2", second),
        *conv(f"{native}.conv2", last, normed),
    )


def named(normed: dict[str, str] = NORMED) -> Rules:
    """The rules of both halves in diffusers and transformers, whose names are the native ones."""
    rules: Rules = ()
    for half, resample in (("encoder", "conv1"), ("decoder", "conv_t1")):
        level = f"{half}.block.{{i}}"
        rules += (
            *conv(f"{half}.conv1", f"{half}.conv1", normed),
            *(rule for each in UNITS for rule in unit(f"{level}.{each}", f"{level}.{each}", UNIT_NAMES, normed)),
            *snake(f"{level}.snake1", f"{level}.snake1"),
            *conv(f"{level}.{resample}", f"{level}.{resample}", normed),
            *snake(f"{half}.snake1", f"{half}.snake1"),
            *conv(f"{half}.conv2", f"{half}.conv2", normed),
        )
    return rules


UNIT_NAMES = ("snake1", "conv1", "snake2", "conv2")


def encoder_sequence(layers: str, inside: str, normed: dict[str, str], activation: bool = True) -> Rules:
    """The rules of an encoder that is one numbered sequence, as in the authors' code.

    Args:
        layers: the name of the sequence, "encoder.layers".
        inside: the name of the sequences in it, "layers".
        normed: the names of norms and directions.
        activation: whether there is one before the last convolution.
    """
    level, numbers = f"{layers}.{{+i}}.{inside}", [f"{inside}.{i}" for i in range(4)]
    native = "encoder.block.{i}"
    return (
        *conv("encoder.conv1", f"{layers}.0", normed),
        *(rule for i, each in enumerate(UNITS) for rule in unit(f"{native}.{each}", f"{level}.{i}", numbers, normed)),
        *snake(f"{native}.snake1", f"{level}.3"),
        *conv(f"{native}.conv1", f"{level}.4", normed),
        *(snake("encoder.snake1", f"{layers}.{{-2}}") if activation else ()),
        *conv("encoder.conv2", f"{layers}.{{-1}}", normed),
    )


def decoder_sequence(layers: str, inside: str, normed: dict[str, str]) -> Rules:
    """The rules of a decoder that is one numbered sequence; see `encoder_sequence`."""
    level, numbers = f"{layers}.{{+i}}.{inside}", [f"{inside}.{i}" for i in range(4)]
    native = "decoder.block.{i}"
    return (
        *conv("decoder.conv1", f"{layers}.0", normed),
        *snake(f"{native}.snake1", f"{level}.0"),
        *conv(f"{native}.conv_t1", f"{level}.1", normed),
        *(
            rule
            for i, each in enumerate(UNITS, 2)
            for rule in unit(f"{native}.{each}", f"{level}.{i}", numbers, normed)
        ),
        *snake("decoder.snake1", f"{layers}.{{-2}}"),
        *conv("decoder.conv2", f"{layers}.{{-1}}", normed),
    )


def kernel(shapes: Shapes, name: str) -> tuple[int, ...] | None:
    """The shape of the weight of a convolution in time; None if it is absent or has other axes."""
    shape = first_shape(shapes, f"{name}.weight_v", f"{name}.weight")
    return shape if shape is not None and len(shape) == 3 else None


def width(shapes: Shapes, name: str, transposed: bool = False) -> int:
    """The output channels of a convolution; 0 if no tensor determines them."""
    weight = kernel(shapes, name)
    if weight is not None:
        return weight[1 if transposed else 0]
    rest = first_shape(shapes, f"{name}.bias", *(() if transposed else (f"{name}.weight_g",)))
    return rest[0] if rest else 0


def waveform_fields(shapes: Shapes) -> dict[str, Any] | None:
    """The fields of a `WaveformConfig` but the latent channels and the sample rate, from native shapes; a missing half
    mirrors the other. None if they are of no such network."""
    encoder, decoder = half_fields(shapes, "encoder", "conv1"), half_fields(shapes, "decoder", "conv_t1")
    if encoder is None and decoder is None:
        return None
    down, factors = encoder or mirrored(decoder)
    up, reversed_factors = decoder or mirrored(encoder)
    strides = agreed(factors, reversed_factors[::-1])
    first, last = kernel(shapes, "encoder.conv1"), kernel(shapes, "decoder.conv2")
    channels = first[1] if first else last[0] if last else 0
    if len(down) != len(up) or not channels or not strides:
        return None
    return {
        "audio_channels": channels,
        "encoder_widths": down,
        "decoder_widths": up,
        "strides": strides,
        "weight_norm": any(key.endswith((".weight_g", ".weight_v")) for key in shapes),
    }


def mirrored(half: HalfFields | None) -> HalfFields:
    """The widths and strides of the other half."""
    widths, strides = half or ((), ())
    return widths[::-1], strides[::-1]


def half_fields(shapes: Shapes, half: str, resample: str) -> HalfFields | None:
    """The widths and the strides of a half, each in the order in which its levels run; a stride is 0 if no tensor
    determines it. None if the half is missing, or a width cannot be determined."""
    names = [f"{half}.block.{i}.{resample}" for i in range(highest(shapes, rf"{half}\.block\.(\d+)\."))]
    widths = (width(shapes, f"{half}.conv1"), *(width(shapes, name, resample == "conv_t1") for name in names))
    sizes = [(kernel(shapes, name) or (0, 0, 0))[2] for name in names]
    if not names or not all(widths) or any(size % 2 for size in sizes):
        return None
    return widths, tuple(size // 2 for size in sizes)


def agreed(strides: tuple[int, ...], others: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of both halves, where 0 is unknown; empty if they differ or one is unknown in both."""
    if len(strides) != len(others) or any(a and b and a != b for a, b in zip(strides, others, strict=True)):
        return ()
    known = tuple(a or b for a, b in zip(strides, others, strict=True))
    return known if all(known) else ()


def with_sample_rate(config: Config, metadata: Fields, settings: Fields) -> Config:
    """Replace the published sample rate by that of the file's metadata or config.json, if it states one.

    Raises:
        UnknownVAE: the file states a rate that no converter has.
    """
    return dataclasses.replace(config, sample_rate=stated_rate(metadata, settings) or config.sample_rate)


def stated_rate(metadata: Fields, settings: Fields) -> int:
    """The sample rate in the file's metadata or config.json; 0 if it states none.

    Raises:
        UnknownVAE: the file states a rate that no converter has.
    """
    stated = next((rate for rate in (metadata.get("sample_rate"), *map(settings.get, RATES)) if rate), 0)
    if type(stated) is not int or not 0 <= stated <= MAX_SAMPLE_RATE:
        raise UnknownVAE(
            f"The file states a sample rate of {printable(str(stated), 40)}.",
            f"Expected a whole number of samples per second, from 1 to {MAX_SAMPLE_RATE}.",
            "Correct the sample rate in its config.json or metadata, or give the path of the weights file alone.",
        )
    return stated


def assumed_rate(config: WaveformConfig) -> list[str]:
    """A warning if the sample rate is unknown."""
    if config.sample_rate:
        return []
    return [f"The sample rate is assumed to be {ASSUMED_RATE} Hz: weights do not determine it."]


def refuse_normalization(name: str, normalization: LatentNormalization | None) -> None:
    """Reject a normalization for a class of diffusers that has no setting for one.

    Raises:
        WrongTensors: the normalization changes latents.
    """
    if normalization is not None and not normalization.is_close(LatentNormalization(), channels=1):
        raise WrongTensors(
            f"diffusers' {name} has no setting for a normalization of latents.", "", 'Save it in the "native" layout.'
        )


def multiples(widths: tuple[int, ...]) -> list[int] | None:
    """The widths after the levels as multiples of the first; None if they are none."""
    return None if any(each % widths[0] for each in widths) else [each // widths[0] for each in widths[1:]]


def mirror_obstacles(config: WaveformConfig) -> dict[str, bool]:
    """Properties that classes of diffusers cannot express, and whether the network has them."""
    return {"weights without weight normalization": not config.weight_norm}


def doubling_obstacles(config: WaveformConfig) -> dict[str, bool]:
    """The same for classes whose widths double with each level."""
    down, up = config.encoder_widths, config.decoder_widths[::-1]
    doubled = any(after != 2 * before for half in (down, up) for before, after in pairwise(half))
    return mirror_obstacles(config) | {"widths that do not double with each level": doubled}

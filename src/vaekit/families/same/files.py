"""Stable Audio 3's autoencoder SAME: names, detector and settings. The normalization is beside the weights.

The authors' files of SAME-S have other layers than diffusers' class (a wider convolution at the end of the decoder, and
attention within chunks): they are recognized but not run.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vaekit.audio_format import MAX_SAMPLE_RATE, AudioFormat
from vaekit.distributions import Laplace, Point
from vaekit.errors import UnknownVAE
from vaekit.families.family import Family, Fields, Shapes, first_shape, highest, no_prior, refuse_obstacles
from vaekit.families.layout import Layout, Rules, leaves, same_names
from vaekit.families.normalization import NormalizationTensors
from vaekit.families.same import net as same
from vaekit.families.same.net import SAMEConfig
from vaekit.families.waveform_files import NORMED, conv
from vaekit.normalization import LatentNormalization

NAME = "AutoencoderSAME"
STD = "bottleneck.running_std"
PUBLISHED_STRIDE = 16
LARGE = ((1536,), (12,))
"""Width and depth of SAME-L, whose decoder has sines in its last blocks."""
LARGE_SINES = (8,)
NONE = (0,)
"""The setting for levels without sines."""
TANH = ("alpha", "gamma", "beta")
NORMS = {
    "norm_attn": "pre_norm",
    "norm_ff": "ff_norm",
    "attn.q_norm": "self_attn.q_norm",
    "attn.k_norm": "self_attn.k_norm",
}
INSIDE = (
    *((f"{native}.{leaf}", f"{foreign}.{leaf}") for native, foreign in NORMS.items() for leaf in TANH),
    *((f"attn.{layer}.weight", f"self_attn.{layer}.weight") for layer in ("to_qkv", "to_out")),
    ("ff.proj_in.{p}", "ff.ff.0.proj.{p}"),
    ("ff.proj_out.{p}", "ff.ff.2.{p}"),
)
"""Names inside a transformer block: diffusers' and native, the authors'."""


def level(native: str, foreign: str, inside: Mapping[str, str]) -> Rules:
    """The rules of one level."""
    return (
        *conv(f"{native}.mapping", f"{foreign}.mapping", NORMED),
        (f"{native}.new_tokens", f"{foreign}.new_tokens"),
        *leaves(f"{native}.transformers.{{j}}", f"{foreign}.transformers.{{j}}", dict(inside)),
    )


DIFFUSERS = (
    *(
        rule
        for half in ("encoder", "decoder")
        for rule in (
            *level(f"{half}.blocks.{{i}}", f"{half}.blocks.{{i}}", {native: native for native, _ in INSIDE}),
            (f"{half}.proj.{{p}}", f"{half}.proj.{{p}}"),
        )
    ),
    ("encoder.bottleneck.scale", "bottleneck.scale"),
    ("encoder.bottleneck.bias", "bottleneck.bias"),
    (STD, STD),
)
ORIGINAL = (
    *level("encoder.blocks.0", "encoder.layers.0", dict(INSIDE)),
    ("encoder.proj.{p}", "encoder.layers.2.{p}"),
    ("decoder.proj.{p}", "decoder.layers.1.{p}"),
    *level("decoder.blocks.0", "decoder.layers.3", dict(INSIDE)),
    ("encoder.bottleneck.scale", "bottleneck.scaling_factor"),
    ("encoder.bottleneck.bias", "bottleneck.bias"),
    (STD, STD),
)
"""The authors' names, for networks of one level."""


def detect_same(shapes: Shapes) -> SAMEConfig | None:
    """The configuration of such an autoencoder, or of one half, which the other is assumed to mirror."""
    down, up = half_levels(shapes, "encoder"), half_levels(shapes, "decoder")[::-1]
    levels = down or up
    latent = first_shape(shapes, "decoder.proj.weight", "encoder.proj.bias")
    if not levels or None in levels or latent is None:
        return None
    known = [each for each in levels if each]
    first = known[0]
    if len({(each.head, each.projections, each.expansion) for each in known}) > 1 or first.projections not in (3, 5):
        return None
    audio = 1 if first.outer % 2 else 2
    return SAMEConfig(
        audio_channels=audio,
        latent_channels=latent[-1],
        patch=first.outer // audio,
        widths=tuple(each.width for each in known),
        strides=(PUBLISHED_STRIDE,) * len(known),
        depths=tuple(each.depth for each in known),
        expansion=first.expansion,
        head_width=first.head,
        differential=first.projections == 5,
        decoder_sines=LARGE_SINES if (tuple(e.width for e in known), tuple(e.depth for e in known)) == LARGE else (),
    )


@dataclasses.dataclass(frozen=True)
class LevelShape:
    """The shape of a level."""

    width: int
    depth: int
    outer: int
    """Channels on the side of the waveform."""
    head: int
    projections: int
    expansion: int


def half_levels(shapes: Shapes, half: str) -> list[LevelShape | None]:
    """The levels of a half, in the order in which they run; None for one of another structure."""
    return [level_shape(shapes, half, i) for i in range(highest(shapes, rf"{half}\.blocks\.(\d+)\."))]


def level_shape(shapes: Shapes, half: str, i: int) -> LevelShape | None:
    """The shape of one level; None if it has another structure."""
    start = f"{half}.blocks.{i}"
    head = first_shape(shapes, f"{start}.transformers.0.attn.q_norm.gamma")
    projection, hidden = (
        first_shape(shapes, f"{start}.transformers.0.{layer}.weight") for layer in ("attn.to_qkv", "ff.proj_in")
    )
    if head is None or projection is None or hidden is None or len(projection) != 2 or len(hidden) != 2:
        return None
    width = projection[1]
    mapping = first_shape(shapes, f"{start}.mapping.weight_v")
    if mapping is not None and (len(mapping) != 3 or mapping[2] != 1):
        return None
    outer = width if mapping is None else mapping[1 if half == "encoder" else 0]
    depth = highest(shapes, rf"{half}\.blocks\.{i}\.transformers\.(\d+)\.")
    if width % head[0] or projection[0] % width or hidden[0] % (2 * width) or not hidden[0]:
        return None
    return LevelShape(width, depth, outer, head[0], projection[0] // width, hidden[0] // (2 * width))


def with_stated_fields(config: SAMEConfig, metadata: Fields, settings: Fields) -> SAMEConfig:
    """Add what weights do not determine, if the file states it.

    Raises:
        UnknownVAE: no such network can exist.
    """
    levels = len(config.widths)
    names = {
        "audio_channels": "audio_channels",
        "strides": "encoder_strides",
        "window": "sliding_window",
        "encoder_sines": "encoder_sinusoidal_blocks",
        "decoder_sines": "decoder_sinusoidal_blocks",
        "sample_rate": "sampling_rate",
    }
    stated = {own: metadata.get(own, settings.get(foreign)) for own, foreign in names.items()}
    fields = {name: value for name, value in stated.items() if value is not None}
    for name in ("strides", "encoder_sines", "decoder_sines"):
        if isinstance(fields.get(name), list | tuple):
            values = tuple(fields[name])
            fields[name] = values * levels if len(values) == 1 and name != "strides" else values
            if name != "strides" and not any(values):
                fields[name] = ()
    inputs = config.audio_channels * config.patch
    if not all(map(is_possible, fields.values())) or inputs % fields.get("audio_channels", 1):
        raise impossible(fields)
    audio = fields.get("audio_channels", config.audio_channels)
    changed = dataclasses.replace(config, **fields, patch=inputs // audio)
    sines = (len(each) in (0, levels) for each in (changed.encoder_sines, changed.decoder_sines))
    positive = min(*changed.strides, audio, changed.window, changed.sample_rate) > 0
    if len(changed.strides) != levels or not all(sines) or not positive or changed.sample_rate > MAX_SAMPLE_RATE:
        raise impossible(fields)
    return changed


def is_possible(value: object) -> bool:
    """Whether a value is a number that is not negative, or a tuple of them."""
    return all(type(each) is int and 0 <= each <= 2**20 for each in (value if isinstance(value, tuple) else (value,)))


def impossible(fields: Fields) -> UnknownVAE:
    """The error for a config that no network has."""
    return UnknownVAE(
        f"The config states {', '.join(f'{name} {value}' for name, value in fields.items())}"[:300] + ".",
        "Expected numbers for each level of the network, and a number of audio channels that divides the patches.",
        "Download it again, with its config.json.",
    )


def settings(config: SAMEConfig, _: LatentNormalization | None) -> dict[str, Any]:
    """The `config.json` of AutoencoderSAME. The normalization is in a tensor of the file."""
    base = config.widths[0]
    refuse_obstacles(
        NAME, {"widths that are not multiples of the first": any(w % base for w in config.widths)}, '"native"'
    )
    return {
        "_class_name": NAME,
        "audio_channels": config.audio_channels,
        "decoder_sinusoidal_blocks": list(config.decoder_sines or NONE),
        "dim_heads": config.head_width,
        "encoder_c_mults": [width // base for width in config.widths],
        "encoder_channels": base,
        "encoder_sinusoidal_blocks": list(config.encoder_sines or NONE),
        "encoder_strides": list(config.strides),
        "encoder_transformer_depths": list(config.depths),
        "ff_mult": config.expansion,
        "latent_dim": config.latent_channels,
        "patch_size": config.patch,
        "sampling_rate": config.sample_rate,
        "sliding_window": config.window,
        "use_differential_attention": config.differential,
    }


def normalization_of(tensors: Mapping[str, Tensor], _: Fields) -> LatentNormalization | None:
    """The normalization by a standard deviation of all latents; None if it is invalid."""
    std = tensors[STD].double()
    return LatentNormalization((0.0,), (1 / std.item(),)) if std.isfinite().all() and (std > 0).all() else None


def deviation_of(config: SAMEConfig, normalization: LatentNormalization | None) -> dict[str, Tensor]:
    """The inverse of `normalization_of`; empty if one standard deviation cannot express the normalization."""
    if normalization is None or normalization.patch > 1:
        return {}
    shift, scale = normalization.per_channel(config.latent_channels)
    return {STD: torch.tensor([1 / scale[0]])} if not any(shift) and len(set(scale)) == 1 and scale[0] > 0 else {}


UNUSED = ("bottleneck.noise_scaling_factor",)
"""A vector without values."""
LAYOUTS = (
    Layout("native", "same", same_names(DIFFUSERS)),
    Layout("diffusers", "same", DIFFUSERS),
    Layout(
        "original",
        "same",
        ORIGINAL,
        unused=("bottleneck.noise_scaling_factor",),
        implies={"strides": (PUBLISHED_STRIDE,)},
    ),
)
FAMILY = Family(
    name="same",
    config=SAMEConfig,
    layouts=LAYOUTS,
    detect=detect_same,
    build=same.build,
    posterior_head=lambda _: Point,
    likelihood_head=lambda _: Laplace,
    prior_head=no_prior,
    complete=with_stated_fields,
    diffusers=settings,
    audio=lambda config: AudioFormat(config.sample_rate, config.audio_channels),
    normalization_tensors=NormalizationTensors(
        description="standard deviations",
        vectors=(STD,),
        counters=(),
        length=lambda _: 1,
        read=normalization_of,
        write=deviation_of,
    ),
)

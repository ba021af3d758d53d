"""The families that vaekit runs, and how a file's own keys and shapes say which one it is.

A detector reads native keys and shapes and returns the whole configuration, or None. Levels, blocks and widths are
counted; no file name is ever looked at. Counts use every key of a block, so that a missing tensor shows up as missing
and not as a smaller model.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from vaekit.distributions import DiagonalGaussian, Laplace, Likelihood, Normal, Point, Posterior
from vaekit.nets import kl, tiny
from vaekit.nets.kl import KLConfig
from vaekit.nets.tiny import TinyConfig

Config = KLConfig | TinyConfig
Shapes = Mapping[str, tuple[int, ...]]
"""Native keys and the shapes of their tensors."""

PUBLISHED_GROUPS = 32
"""Groups of every GroupNorm in all published KL autoencoders. Shapes do not tell it; metadata may say otherwise."""


@dataclass(frozen=True)
class Family:
    """What it takes to turn native tensors into a VAE."""

    name: str
    config: type[Any]
    detect: Callable[[Shapes], Config | None]
    build: Callable[[Any], tuple[nn.Module, nn.Module]]
    to_posterior: Callable[[Tensor], Posterior]
    to_likelihood: Callable[[Tensor], Likelihood]


def highest(shapes: Shapes, template: str) -> int:
    """One more than the largest number that stands at the group of the pattern; 0 where no key matches."""
    pattern = re.compile(template)
    return max((int(match[1]) + 1 for key in shapes if (match := pattern.match(key))), default=0)


def first_shape(shapes: Shapes, *keys: str) -> tuple[int, ...] | None:
    """The shape of the first of these tensors that is there: any of them would tell the same."""
    return next((shapes[key] for key in keys if key in shapes), None)


def detect_kl(shapes: Shapes) -> KLConfig | None:
    """The configuration of a KL autoencoder, or of the half that is there (the other half is taken to mirror it)."""
    encoder_widths = level_widths(shapes, "encoder.down")
    decoder_widths = level_widths(shapes, "decoder.up")
    outer = first_shape(shapes, "encoder.conv_in.weight"), first_shape(shapes, "decoder.conv_out.weight")
    hidden = kl_hidden_channels(shapes)
    if not (encoder_widths or decoder_widths) or hidden is None or outer == (None, None):
        return None
    encoder_blocks = highest(shapes, r"encoder\.down\.\d+\.block\.(\d+)\.")
    decoder_blocks = highest(shapes, r"decoder\.up\.\d+\.block\.(\d+)\.")
    return KLConfig(
        image_channels=outer[0][1] if outer[0] else outer[1][0] if outer[1] else 0,
        latent_channels=kl_latent_channels(shapes, hidden),
        hidden_channels=hidden,
        encoder_widths=encoder_widths or decoder_widths,
        decoder_widths=decoder_widths or encoder_widths,
        encoder_blocks=encoder_blocks or max(1, decoder_blocks - 1),
        decoder_blocks=decoder_blocks or encoder_blocks + 1,
        encoder_attention=attention_levels(shapes, "encoder.down"),
        decoder_attention=attention_levels(shapes, "decoder.up"),
        mid_attention=any(".mid.attn_1." in key for key in shapes),
        quant_conv=any(key.startswith("encoder.quant_conv.") for key in shapes),
        post_quant_conv=any(key.startswith("decoder.post_quant_conv.") for key in shapes),
        norm_groups=PUBLISHED_GROUPS,
    )


def level_widths(shapes: Shapes, levels: str) -> tuple[int, ...]:
    """The width of each level, read from whatever its first block still has; empty where one cannot be told."""
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


def kl_hidden_channels(shapes: Shapes) -> int | None:
    encoded = first_shape(shapes, "encoder.conv_out.weight", "encoder.conv_out.bias")
    decoded = first_shape(shapes, "decoder.conv_in.weight")
    if decoded is not None and len(decoded) == 4:
        return decoded[1]
    return encoded[0] // 2 if encoded is not None else None


def kl_latent_channels(shapes: Shapes, hidden: int) -> int:
    after_encoder = first_shape(shapes, "encoder.quant_conv.weight", "encoder.quant_conv.bias")
    before_decoder = first_shape(shapes, "decoder.post_quant_conv.weight")
    if before_decoder is not None and len(before_decoder) == 4:
        return before_decoder[1]
    return after_encoder[0] // 2 if after_encoder is not None else hidden


def detect_tiny(shapes: Shapes) -> TinyConfig | None:
    """The configuration of a tiny autoencoder, or of the half that is there (the other half is taken to mirror it)."""
    encoder, decoder = sequence(shapes, "encoder"), sequence(shapes, "decoder")
    outermost = (encoder.first if encoder else None), (decoder.last if decoder else None)
    innermost = (encoder.last if encoder else None), (decoder.first if decoder else None)
    known = encoder or decoder
    if known is None or known.first is None or known.last is None:
        return None
    encoder_blocks = encoder.runs if encoder else tuple(reversed(known.runs))
    return TinyConfig(
        image_channels=outermost[0][1] if outermost[0] else known.last[0],
        latent_channels=innermost[0][0] if innermost[0] else known.first[1],
        width=known.first[0],
        encoder_blocks=encoder_blocks,
        decoder_blocks=decoder.runs if decoder else tuple(reversed(known.runs)),
        pool=any(".pool." in key for key in shapes),
    )


@dataclass(frozen=True)
class Sequence:
    """An `nn.Sequential` of plain convolutions with runs of blocks between them."""

    first: tuple[int, ...] | None
    last: tuple[int, ...] | None
    runs: tuple[int, ...]


def sequence(shapes: Shapes, half: str) -> Sequence | None:
    """Read one half of a tiny autoencoder off its positions; None where the half is absent or built otherwise."""
    pattern = re.compile(rf"{half}\.(\d+)\.(conv\.|pool\.|weight|bias)")
    matches = (pattern.match(key) for key in shapes)
    kinds = {int(match[1]): match[2] for match in matches if match}
    runs: list[int] = []
    for _, kind in sorted(kinds.items()):
        if kind in ("weight", "bias"):
            runs.append(0)
        elif runs:
            runs[-1] += 1
    plain = [position for position, kind in sorted(kinds.items()) if kind in ("weight", "bias")]
    if len(plain) < 3 or runs[-1] != 0 or 0 in runs[:-1]:
        return None
    ends = (first_shape(shapes, f"{half}.{position}.weight") for position in (plain[0], plain[-1]))
    return Sequence(*ends, tuple(runs[:-1]))


FAMILIES = (
    Family("kl", KLConfig, detect_kl, kl.build, DiagonalGaussian.from_moments, Laplace),
    Family("tiny", TinyConfig, detect_tiny, tiny.build, Point, Normal),
)


def family_of(name: str) -> Family:
    """The family of this name; it is an error of ours to ask for one that is not there."""
    return next(family for family in FAMILIES if family.name == name)

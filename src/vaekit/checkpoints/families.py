"""The families that vaekit runs, and how a file's own keys and shapes say which one it is.

A detector reads native keys and shapes and returns the whole configuration, or None. Levels, blocks and widths are
counted; no file name is ever looked at. Counts use every key of a block, so that a missing tensor shows up as missing
and not as a smaller model.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from vaekit.checkpoints.layouts import CODEBOOK, HALVES
from vaekit.distributions import DiagonalGaussian, Laplace, Likelihood, Normal, Point, Posterior
from vaekit.nets import kl, tiny, vq
from vaekit.nets.kl import KLConfig
from vaekit.nets.tiny import TinyConfig
from vaekit.nets.vq import VQConfig
from vaekit.vae import VAE, LatentFrame

Config = KLConfig | VQConfig | TinyConfig
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
    head: Callable[[Any], Callable[[Tensor], Posterior]]
    """The head that reads the moments of a network of this config as a posterior."""
    to_likelihood: Callable[[Tensor], Likelihood]


def highest(shapes: Shapes, template: str) -> int:
    """One more than the largest number that stands at the group of the pattern; 0 where no key matches."""
    pattern = re.compile(template)
    return max((int(match[1]) + 1 for key in shapes if (match := pattern.match(key))), default=0)


def first_shape(shapes: Shapes, *keys: str) -> tuple[int, ...] | None:
    """The shape of the first of these tensors that is there and not empty: any of them would tell the same."""
    return next((shapes[key] for key in keys if all(shapes.get(key, ())) and shapes.get(key)), None)


def conv_shape(shapes: Shapes, key: str) -> tuple[int, ...] | None:
    """The shape of a convolution over pictures, (out, in, rows, columns); None where it is absent or another thing."""
    shape = first_shape(shapes, key)
    return shape if shape is not None and len(shape) == 4 else None


def detect_kl(shapes: Shapes) -> KLConfig | None:
    """The configuration of a KL autoencoder, or of the half that is there (the other half is taken to mirror it)."""
    fields = None if CODEBOOK in shapes else convolutional(shapes, moments=2)
    return KLConfig(**fields) if fields else None


def detect_vq(shapes: Shapes) -> VQConfig | None:
    """The configuration of a vector-quantised autoencoder: the same nets, with a codebook beside them."""
    codebook = first_shape(shapes, CODEBOOK)
    fields = convolutional(shapes, moments=1)
    return VQConfig(**fields, codes=codebook[0]) if fields and codebook and len(codebook) == 2 else None


def convolutional(shapes: Shapes, moments: int) -> dict[str, Any] | None:
    """The fields of a KLConfig for nets whose encoder says so many numbers of each number in the latent."""
    encoder_widths = level_widths(shapes, "encoder.down")
    decoder_widths = level_widths(shapes, "decoder.up")
    image_channels = kl_image_channels(shapes)
    hidden = kl_hidden_channels(shapes, moments)
    latent = kl_latent_channels(shapes, moments, hidden)
    if not (encoder_widths or decoder_widths) or not (image_channels and hidden and latent):
        return None
    encoder_blocks = highest(shapes, r"encoder\.down\.\d+\.block\.(\d+)\.")
    decoder_blocks = highest(shapes, r"decoder\.up\.\d+\.block\.(\d+)\.")
    encoder_attention = attention_levels(shapes, "encoder.down")
    decoder_attention = attention_levels(shapes, "decoder.up")
    quant_conv = any(key.startswith("encoder.quant_conv.") for key in shapes)
    post_quant_conv = any(key.startswith("decoder.post_quant_conv.") for key in shapes)
    return {
        "image_channels": image_channels,
        "latent_channels": latent,
        "hidden_channels": hidden,
        "encoder_widths": encoder_widths or decoder_widths,
        "decoder_widths": decoder_widths or encoder_widths,
        "encoder_blocks": encoder_blocks or max(1, decoder_blocks - 1),
        "decoder_blocks": decoder_blocks or encoder_blocks + 1,
        "encoder_attention": encoder_attention if encoder_widths else decoder_attention,
        "decoder_attention": decoder_attention if decoder_widths else encoder_attention,
        "mid_attention": any(".mid.attn_1." in key for key in shapes),
        "quant_conv": quant_conv if encoder_widths else post_quant_conv,
        "post_quant_conv": post_quant_conv if decoder_widths else quant_conv,
        "norm_groups": PUBLISHED_GROUPS,
    }


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


def kl_image_channels(shapes: Shapes) -> int | None:
    taken, given = conv_shape(shapes, "encoder.conv_in.weight"), conv_shape(shapes, "decoder.conv_out.weight")
    return taken[1] if taken else given[0] if given else None


def kl_hidden_channels(shapes: Shapes, moments: int) -> int | None:
    decoded = conv_shape(shapes, "decoder.conv_in.weight")
    encoded = first_shape(shapes, "encoder.conv_out.weight", "encoder.conv_out.bias")
    return decoded[1] if decoded else encoded[0] // moments if encoded else None


def kl_latent_channels(shapes: Shapes, moments: int, hidden: int | None) -> int | None:
    before_decoder = conv_shape(shapes, "decoder.post_quant_conv.weight")
    after_encoder = first_shape(shapes, "encoder.quant_conv.weight", "encoder.quant_conv.bias")
    return before_decoder[1] if before_decoder else after_encoder[0] // moments if after_encoder else hidden


def detect_tiny(shapes: Shapes) -> TinyConfig | None:
    """The configuration of a tiny autoencoder, or of the half that is there (the other half is taken to mirror it)."""
    encoder, decoder = sequence(shapes, "encoder"), sequence(shapes, "decoder")
    if encoder is not None:
        return TinyConfig(
            image_channels=encoder.first[1],
            latent_channels=encoder.last[0],
            width=encoder.first[0],
            encoder_blocks=encoder.runs,
            decoder_blocks=decoder.runs if decoder else encoder.runs[::-1],
            pool=has_pool(shapes),
        )
    if decoder is not None:
        return TinyConfig(
            image_channels=decoder.last[0],
            latent_channels=decoder.first[1],
            width=decoder.first[0],
            encoder_blocks=decoder.runs[::-1],
            decoder_blocks=decoder.runs,
            pool=has_pool(shapes),
        )
    return None


def has_pool(shapes: Shapes) -> bool:
    return any(".pool." in key for key in shapes)


@dataclass(frozen=True)
class Chain:
    """An `nn.Sequential` of plain convolutions with runs of blocks between them."""

    first: tuple[int, ...]
    last: tuple[int, ...]
    runs: tuple[int, ...]
    """Blocks after each convolution but the last."""


def sequence(shapes: Shapes, half: str) -> Chain | None:
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
    first, last = (conv_shape(shapes, f"{half}.{position}.weight") for position in (plain[0], plain[-1]))
    return Chain(first, last, tuple(runs[:-1])) if first and last else None


FAMILIES = (
    Family("kl", KLConfig, detect_kl, kl.build, lambda _: DiagonalGaussian.from_moments, Laplace),
    Family("vq", VQConfig, detect_vq, kl.build, vq.quantiser, Laplace),
    Family("tiny", TinyConfig, detect_tiny, tiny.build, lambda _: Point, Normal),
)


def family_of(name: str) -> Family:
    """The family of this name; it is an error of ours to ask for one that is not there."""
    return next(family for family in FAMILIES if family.name == name)


def family_with(config: object) -> Family | None:
    """The family that a config is of, if it is of one."""
    return next((family for family in FAMILIES if type(config) is family.config), None)


def assemble(family: Family, config: Config, halves: Collection[str] = HALVES, frame: LatentFrame | None = None) -> VAE:
    """A VAE with these halves and torch's initial weights (or none, under `torch.device("meta")`)."""
    nets = dict(zip(HALVES, family.build(config), strict=True))
    encoder, decoder = (nets[half] if half in halves else None for half in HALVES)
    return VAE(encoder, family.head(config), decoder, family.to_likelihood, frame)

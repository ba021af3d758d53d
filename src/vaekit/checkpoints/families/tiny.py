"""Tiny autoencoders that speak the latents of large ones: TAESD, TAESD3, TAEF1 and TAEF2."""

import re
from dataclasses import dataclass
from typing import Any

from vaekit.checkpoints.families.family import Family, Shapes, conv_shape
from vaekit.checkpoints.families.layout import Layout, Rules
from vaekit.distributions import Normal, Point
from vaekit.errors import WrongTensors
from vaekit.nets import tiny
from vaekit.nets.tiny import TinyConfig
from vaekit.vae import LatentFrame


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


def sequential(native: str, foreign: str) -> Rules:
    """The table of an `nn.Sequential` of convolutions and tiny blocks behind two prefixes."""
    return tuple((f"{native}.{leaf}", f"{foreign}.{leaf}") for leaf in ("{p}", "conv.{j}.{p}", "pool.{j}.{p}"))


def settings(config: TinyConfig, _: LatentFrame | None) -> dict[str, Any]:
    """The `config.json` of AutoencoderTiny."""
    if config.pool:
        raise WrongTensors(
            "diffusers' AutoencoderTiny cannot express this VAE: it has the GroupNorm branch of TAEF2.",
            "",
            'Save it in the "native" or "tiny" layout.',
        )
    levels = len(config.encoder_blocks)
    return {
        "_class_name": "AutoencoderTiny",
        "act_fn": "relu",
        "encoder_block_out_channels": [config.width] * levels,
        "decoder_block_out_channels": [config.width] * levels,
        "num_encoder_blocks": list(config.encoder_blocks),
        "num_decoder_blocks": list(config.decoder_blocks),
        "in_channels": config.image_channels,
        "out_channels": config.image_channels,
        "latent_channels": config.latent_channels,
        "scaling_factor": 1.0,
        "upsampling_scaling_factor": 2,
    }


LAYOUTS = (
    Layout("native", "tiny", (*sequential("encoder.{i}", "encoder.{i}"), *sequential("decoder.{i}", "decoder.{i}"))),
    Layout(
        "diffusers",
        "tiny",
        (*sequential("encoder.{i}", "encoder.layers.{i}"), *sequential("decoder.{i}", "decoder.layers.{-i}")),
    ),
    # What ComfyUI writes when it saves a tiny autoencoder: both halves, and how it scales latents for them itself.
    Layout(
        "comfy",
        "tiny",
        (*sequential("encoder.{i}", "taesd_encoder.{i}"), *sequential("decoder.{i}", "taesd_decoder.{i}")),
        extras=("vae_scale", "vae_shift"),
    ),
    Layout("tiny-encoder", "tiny", sequential("encoder.{i}", "{i}"), has=("0.weight",), any_prefix=False),
    Layout(
        "tiny-decoder",
        "tiny",
        sequential("decoder.{i}", "{i}"),
        has=("1.weight",),
        lacks=("0.weight",),
        any_prefix=False,
    ),
)
FAMILY = Family(
    name="tiny",
    config=TinyConfig,
    layouts=LAYOUTS,
    detect=detect_tiny,
    build=tiny.build,
    head=lambda _: Point,
    to_likelihood=Normal,
    diffusers=settings,
)

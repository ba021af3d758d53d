"""Tiny autoencoders for the latents of large ones: TAESD, TAESD3, TAEF1, TAEF2 and TAESANA."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from vaekit.distributions import Normal, Point
from vaekit.families.family import Family, Fields, Shapes, conv_shape, first_shape, no_prior, refuse_obstacles
from vaekit.families.layout import Layout, Rules
from vaekit.families.tiny import net as tiny
from vaekit.families.tiny.net import TinyConfig
from vaekit.normalization import LatentNormalization


def detect_tiny(shapes: Shapes) -> TinyConfig | None:
    """The configuration of a tiny autoencoder, or of one half, which the other is assumed to mirror."""
    pool = any(".pool." in key for key in shapes)
    encoder, decoder = sequence(shapes, "encoder"), sequence(shapes, "decoder")
    if encoder is not None:
        mirror = encoder.mirrored()
        return TinyConfig(
            image_channels=encoder.first,
            latent_channels=encoder.last,
            stem_widths=encoder.stem,
            encoder_widths=encoder.widths,
            decoder_widths=decoder.widths if decoder else mirror.widths,
            encoder_blocks=encoder.runs,
            decoder_blocks=decoder.runs if decoder else mirror.runs,
            pool=pool,
        )
    if decoder is not None:
        mirror = decoder.mirrored()
        return TinyConfig(
            image_channels=decoder.last,
            latent_channels=decoder.first,
            stem_widths=(),
            encoder_widths=mirror.widths,
            decoder_widths=decoder.widths,
            encoder_blocks=mirror.runs,
            decoder_blocks=decoder.runs,
            pool=pool,
        )
    return None


@dataclass(frozen=True)
class Chain:
    """An `nn.Sequential` of plain convolutions with runs of blocks between them."""

    first: int
    """Input channels."""
    last: int
    """Output channels."""
    stem: tuple[int, ...]
    """Widths of the plain convolutions before the first block, if they are strided with a ReLU each."""
    widths: tuple[int, ...]
    """Width of each run of blocks."""
    runs: tuple[int, ...]
    """The number of blocks of each run."""

    def mirrored(self) -> "Chain":
        """The mirrored half: each stride of a stem becomes a run of one block."""
        widths, runs = self.widths[::-1] + self.stem[::-1], self.runs[::-1] + (1,) * len(self.stem)
        return Chain(self.last, self.first, (), widths, runs)


def sequence(shapes: Shapes, half: str) -> Chain | None:
    """Derive the structure of one half from its indices; None if it is absent or has another structure."""
    pattern = re.compile(rf"{half}\.(\d+)\.(conv\.|pool\.|weight|bias)")
    matches = (pattern.match(key) for key in shapes)
    leaves = {int(match[1]): match[2] for match in matches if match}
    plain = sorted(position for position, leaf in leaves.items() if leaf in ("weight", "bias"))
    blocks = sorted(leaves.keys() - plain)
    if len(plain) < 3 or not blocks or blocks[-1] > plain[-1]:
        return None
    before = [position for position in plain if position < blocks[0]]
    # Every convolution of a stem is followed by a ReLU, which takes an index; the single first one of TAESD is not.
    stem = before if half == "encoder" and [*before, blocks[0]] == list(range(0, blocks[0] + 1, 2)) else []
    if not stem and len(before) != 1:
        return None
    starts = [*before[-1:], *plain[len(before) :]]
    runs = tuple(sum(a < block < b for block in blocks) for a, b in pairwise(starts))
    first, last = (conv_shape(shapes, f"{half}.{position}.weight") for position in (plain[0], plain[-1]))
    widths, stem_widths = (width_after(shapes, half, positions) for positions in (starts[:-1], stem))
    if not (first and last and runs and all(runs)) or widths is None or stem_widths is None:
        return None
    return Chain(first[1], last[0], stem_widths, widths, runs)


def width_after(shapes: Shapes, half: str, positions: Sequence[int]) -> tuple[int, ...] | None:
    """The output width of each of these convolutions; None if one cannot be determined."""
    known = [first_shape(shapes, f"{half}.{position}.weight", f"{half}.{position}.bias") for position in positions]
    return tuple(shape[0] for shape in known if shape) if all(known) else None


def no_normalization_in_settings(_: Fields) -> None:
    """AutoencoderTiny's factor is always 1, regardless of the latent space, so it is ignored."""


def sequential(native: str, foreign: str) -> Rules:
    """The rules of an `nn.Sequential` of convolutions and tiny blocks, given both prefixes."""
    return tuple((f"{native}.{leaf}", f"{foreign}.{leaf}") for leaf in ("{p}", "conv.{j}.{p}", "pool.{j}.{p}"))


def settings(config: TinyConfig, _: LatentNormalization | None) -> dict[str, Any]:
    """The `config.json` of AutoencoderTiny."""
    obstacles = {
        "the GroupNorm branch of TAEF2": config.pool,
        "the strided stem of TAESANA": bool(config.stem_widths),
        "several widths in one half": len(set(config.encoder_widths)) > 1 or len(set(config.decoder_widths)) > 1,
    }
    refuse_obstacles("AutoencoderTiny", obstacles, '"native" or "tiny"')
    return {
        "_class_name": "AutoencoderTiny",
        "act_fn": "relu",
        "encoder_block_out_channels": list(config.encoder_widths),
        "decoder_block_out_channels": list(config.decoder_widths),
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
    # ComfyUI's format for tiny autoencoders: both halves, and its own scaling of the latents.
    Layout(
        "comfy",
        "tiny",
        (*sequential("encoder.{i}", "taesd_encoder.{i}"), *sequential("decoder.{i}", "taesd_decoder.{i}")),
        unused=("vae_scale", "vae_shift"),
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
    posterior_head=lambda _: Point,
    likelihood_head=lambda _: Normal,
    prior_head=no_prior,
    diffusers=settings,
    normalization_from_settings=no_normalization_in_settings,
)

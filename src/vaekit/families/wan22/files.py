"""Wan 2.2 (5B), and Qwen-Image 2.1 with the same architecture: names of Wan 2.1 with numbered levels."""

import dataclasses
from typing import Any

from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.families.family import Family, Shapes, refuse_obstacles
from vaekit.families.layout import Layout, leaves, same_names
from vaekit.families.wan.files import (
    DIFFUSERS_RESIDUAL,
    RESAMPLE,
    RESIDUAL,
    outside_levels,
    wan_fields,
    wan_settings,
)
from vaekit.families.wan22 import net as wan22
from vaekit.families.wan22.net import Wan22Config
from vaekit.normalization import LatentNormalization

IMAGES = "AutoencoderKLQwenImage21"
MOST_PIXEL_CHANNELS = 4
"""The maximum number of channels of an image (RGBA); more channels are squares of pixels."""

ORIGINAL = (
    *leaves("encoder.levels.{i}.main.block.{j}", "encoder.downsamples.{i}.downsamples.{n}", RESIDUAL),
    *leaves("encoder.levels.{i}.main.resample", "encoder.downsamples.{i}.downsamples.{e}", RESAMPLE),
    *leaves("decoder.levels.{i}.main.block.{j}", "decoder.upsamples.{i}.upsamples.{n}", RESIDUAL),
    *leaves("decoder.levels.{i}.main.resample", "decoder.upsamples.{i}.upsamples.{e}", RESAMPLE),
    *outside_levels(original=True),
)
DIFFUSERS = (
    *leaves("encoder.levels.{i}.main.block.{j}", "encoder.down_blocks.{i}.resnets.{j}", DIFFUSERS_RESIDUAL),
    *leaves("encoder.levels.{i}.main.resample", "encoder.down_blocks.{i}.downsampler", RESAMPLE),
    *leaves("decoder.levels.{i}.main.block.{j}", "decoder.up_blocks.{i}.resnets.{j}", DIFFUSERS_RESIDUAL),
    *leaves("decoder.levels.{i}.main.resample", "decoder.up_blocks.{i}.upsampler", RESAMPLE),
    *outside_levels(original=False),
)


def detect_wan22(shapes: Shapes) -> Wan22Config | None:
    """The configuration of a Wan 2.2 autoencoder, or of one half, which the other is assumed to mirror.

    The published encoder and decoder have different widths: one half does not determine those of the other.
    """
    numbered = {key.replace(".main.", "."): shape for key, shape in shapes.items()}
    fields = wan_fields(numbered) if any(".main." in key for key in shapes) else None
    if fields is None:
        return None
    channels = fields["image_channels"]
    patch = 2 if channels > MOST_PIXEL_CHANNELS and channels % 4 == 0 else 1
    config = Wan22Config(**fields | {"image_channels": channels // patch**2}, patch=patch)
    return config if can_be_built(config) else None


def can_be_built(config: Wan22Config) -> bool:
    """Whether channels are divisible as averages and repetitions require."""
    encoder, decoder = config.encoder_widths, config.decoder_widths
    last, times, doubled = len(encoder) - 1, config.time_levels, config.decoder_time_levels
    downs = zip((encoder[0], *encoder), encoder, strict=False)
    averages = all(a * (4 if i < last else 1) * (1 + (i in times)) % b == 0 for i, (a, b) in enumerate(downs))
    ups = zip((decoder[0], *decoder), decoder[:-1], strict=False)
    return averages and all(4 * (1 + (i in doubled)) * b % a == 0 for i, (a, b) in enumerate(ups))


def settings(config: Wan22Config, normalization: LatentNormalization | None) -> dict[str, Any]:
    """The `config.json` of AutoencoderKLWan with shortcuts, or of AutoencoderKLQwenImage21 for kernels without time."""
    if not config.temporal:
        return of_images(config, normalization)
    return wan_settings(config, normalization) | {
        "in_channels": config.pixel_channels,
        "out_channels": config.pixel_channels,
        "is_residual": True,
        "patch_size": config.patch if config.patch > 1 else None,
    }


def of_images(config: Wan22Config, normalization: LatentNormalization | None) -> dict[str, Any]:
    """The `config.json` of AutoencoderKLQwenImage21."""
    refuse_obstacles(IMAGES, {"squares of pixels as channels": config.patch > 1}, '"original" or "native"')
    shared = wan_settings(dataclasses.replace(config, temporal=True), normalization)
    return shared | {
        "_class_name": IMAGES,
        "in_channels": config.image_channels,
        "is_residual": True,
        "out_channels": config.image_channels,
        "patch_size": None,
    }


LAYOUTS = (
    Layout("original", "wan2.2", ORIGINAL),
    Layout("native", "wan2.2", same_names(ORIGINAL)),
    Layout("diffusers", "wan2.2", DIFFUSERS),
)
FAMILY = Family(
    name="wan2.2",
    config=Wan22Config,
    layouts=LAYOUTS,
    detect=detect_wan22,
    build=wan22.build,
    posterior_head=lambda _: DiagonalGaussian.from_moments,
    likelihood_head=lambda _: Laplace,
    diffusers=settings,
)

"""The upscaler of Kandinsky 6: names, detector and settings."""

from typing import Any

from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.families.family import Family, Shapes, refuse_obstacles
from vaekit.families.kandinsky6_sr import net as kandinsky6_sr
from vaekit.families.kandinsky6_sr.net import Kandinsky6SRConfig
from vaekit.families.layout import HALVES, Layout, Rules, leaves, same_names
from vaekit.families.levels import block_obstacles
from vaekit.families.normalization import one_factor
from vaekit.families.single_frame_shapes import ENDS, residual_names, video_fields
from vaekit.normalization import LatentNormalization

NAME = "Kandinsky6SRVAE"
SPATIAL = {leaf: leaf for leaf in ("norm_layer.gamma", "conv_y.{p}", "conv_b.{p}")}
RESAMPLE = {"spatial_conv.{p}": "spatial_conv.{p}", "linear.{p}": "linear.{p}"}
DOWN = RESAMPLE | {"temporal_conv.{k}.{p}": "temporal_conv.{k}.conv.{p}"}
UP = RESAMPLE | {"temporal_conv.{p}": "temporal_conv.conv.{p}"}


def norm_names(norm: str, half: str) -> dict[str, str]:
    """The leaves of a norm in a half, with their names in the file."""
    leaves_of = ("gamma",) if half == "encoder" else SPATIAL
    return {f"{norm}.{leaf}": f"{norm}.{leaf}" for leaf in leaves_of}


def half_names(half: str, level: str, resample: str, layers: dict[str, str]) -> Rules:
    """The rules of one half."""
    norms = norm_names("norm1", half) | norm_names("norm2", half)
    return (
        *leaves(half, half, ENDS | norm_names("norm_out", half)),
        *residual_names(f"{half}.levels.{{i}}.block.{{j}}", f"{half}.{level}.block.{{j}}", norms, "nin_shortcut"),
        *leaves(f"{half}.levels.{{i}}.resample", f"{half}.{level}.{resample}", layers),
        *residual_names(f"{half}.mid.block_1", f"{half}.mid.block_1", norms, "nin_shortcut"),
        *residual_names(f"{half}.mid.block_2", f"{half}.mid.block_2", norms, "nin_shortcut"),
    )


DIFFUSERS = (
    *half_names("encoder", "down.{i}", "downsample", DOWN),
    *half_names("decoder", "up.{~i}", "upsample", UP),
)


def detect_kandinsky6_sr(shapes: Shapes) -> Kandinsky6SRConfig | None:
    """The configuration of the autoencoder, or of one half, which the other is assumed to mirror.

    The published encoder and decoder have different widths: one half does not determine those of the other.
    """
    fields = video_fields(shapes)
    if fields is None or not any(f"{half}.levels.0.resample.spatial_conv.weight" in shapes for half in HALVES):
        return None
    down, up = (time_levels(shapes, half, len(fields["encoder_widths"])) for half in HALVES)
    present = [any(key.startswith(half) for key in shapes) for half in HALVES]
    return Kandinsky6SRConfig(
        **fields,
        encoder_time_levels=down if present[0] else up,
        decoder_time_levels=up if present[1] else down,
    )


def time_levels(shapes: Shapes, half: str, levels: int) -> tuple[int, ...]:
    """The levels of a half that end with convolutions over time."""
    starts = [f"{half}.levels.{i}.resample.temporal_conv." for i in range(levels)]
    return tuple(i for i, start in enumerate(starts) if any(key.startswith(start) for key in shapes))


def settings(config: Kandinsky6SRConfig, normalization: LatentNormalization | None) -> dict[str, Any]:
    """The `config.json` of Kandinsky6SRVAE."""
    times = config.encoder_time_levels
    start = times[0] if times else 0
    obstacles = {
        **block_obstacles(config),
        "other levels that change the number of frames than successive ones, the same in both halves": (
            times != config.decoder_time_levels or times != tuple(range(start, start + len(times)))
        ),
    }
    refuse_obstacles(NAME, obstacles, '"native"')
    return {
        "_class_name": NAME,
        "decoder_block_out_channels": list(config.decoder_widths[::-1]),
        "encoder_block_out_channels": list(config.encoder_widths),
        "in_channels": config.image_channels,
        "latent_channels": config.latent_channels,
        "layers_per_block": config.encoder_blocks,
        "out_channels": config.image_channels,
        "temporal_compression_ratio": 2 ** len(times),
        "temporal_compression_start_level": start,
    } | one_factor(normalization, NAME)


LAYOUTS = (
    Layout("diffusers", "kandinsky6-sr", DIFFUSERS),
    Layout("native", "kandinsky6-sr", same_names(DIFFUSERS)),
)
FAMILY = Family(
    name="kandinsky6-sr",
    config=Kandinsky6SRConfig,
    layouts=LAYOUTS,
    detect=detect_kandinsky6_sr,
    build=kandinsky6_sr.build,
    posterior_head=lambda _: DiagonalGaussian.from_moments,
    likelihood_head=lambda _: Laplace,
    diffusers=settings,
)

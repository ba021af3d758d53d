"""HunyuanVideo 1.5 and the refiner of HunyuanImage 2.1: names, detector and settings.

diffusers has a class for each of the two; the weights do not state which it is, and a single frame does not depend on
it.
"""

from itertools import pairwise
from typing import Any

from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.families.family import Family, Shapes, first_shape, refuse_obstacles
from vaekit.families.hunyuan_video15 import net as hunyuan_video15
from vaekit.families.hunyuan_video15.net import HunyuanVideo15Config
from vaekit.families.layout import Layout, Rules, leaves, same_names
from vaekit.families.levels import mirror_obstacles
from vaekit.families.normalization import one_factor
from vaekit.families.single_frame_shapes import ENDS, residual_names, video_fields
from vaekit.normalization import LatentNormalization

NAME = "AutoencoderKLHunyuanVideo15"
NORMS = {f"{norm}.gamma": f"{norm}.gamma" for norm in ("norm1", "norm2")}
ATTENTION = {"q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "proj_out"}


def half_names(half: str, level: str, block: str, resample: str, original: bool) -> Rules:
    """The rules of one half.

    Args:
        half: "encoder" or "decoder".
        level: the template of a level in the file.
        block: the template of a residual block in a level.
        resample: the layer of a level that changes the resolution.
        original: whether the other names are the authors' rather than diffusers'.
    """
    shortcut = "nin_shortcut" if original else "conv_shortcut"
    middle = "mid" if original else "mid_block"
    first, beside, last = ("block_1", "attn_1", "block_2") if original else ("resnets.0", "attentions.0", "resnets.1")
    layers = {f"{a}.{{p}}": f"{a if original else b}.{{p}}" for a, b in ATTENTION.items()}
    return (
        *leaves(half, half, ENDS | {"norm_out.gamma": "norm_out.gamma"}),
        *residual_names(f"{half}.levels.{{i}}.block.{{j}}", f"{half}.{level}.{block}", NORMS, shortcut),
        *leaves(f"{half}.levels.{{i}}.resample", f"{half}.{level}.{resample}", {"conv.{p}": "conv.conv.{p}"}),
        *residual_names(f"{half}.mid.block_1", f"{half}.{middle}.{first}", NORMS, shortcut),
        *leaves(f"{half}.mid.attn_1", f"{half}.{middle}.{beside}", layers | {"norm.gamma": "norm.gamma"}),
        *residual_names(f"{half}.mid.block_2", f"{half}.{middle}.{last}", NORMS, shortcut),
    )


DIFFUSERS = (
    *half_names("encoder", "down_blocks.{i}", "resnets.{j}", "downsamplers.0", original=False),
    *half_names("decoder", "up_blocks.{i}", "resnets.{j}", "upsamplers.0", original=False),
)
ORIGINAL = (
    *half_names("encoder", "down.{i}", "block.{j}", "downsample", original=True),
    *half_names("decoder", "up.{i}", "block.{j}", "upsample", original=True),
)


def detect_hunyuan_video15(shapes: Shapes) -> HunyuanVideo15Config | None:
    """The configuration of a HunyuanVideo 1.5 autoencoder, or of one half, which the other mirrors."""
    fields = video_fields(shapes)
    if fields is None or not any(key.endswith(".norm1.gamma") for key in shapes):
        return None
    encoder, decoder = fields["encoder_widths"], fields["decoder_widths"]
    down, up = time_levels(shapes, "encoder", encoder), time_levels(shapes, "decoder", decoder)
    if down is None and up is None:
        return None
    mirrored = len(encoder) - 2
    config = HunyuanVideo15Config(
        **fields,
        encoder_time_levels=down if down is not None else tuple(sorted(mirrored - i for i in up or ())),
        decoder_time_levels=up if up is not None else tuple(sorted(mirrored - i for i in down or ())),
    )
    return config if can_be_built(config) else None


def time_levels(shapes: Shapes, half: str, widths: tuple[int, ...]) -> tuple[int, ...] | None:
    """The levels of a half whose last layer also changes the number of frames; None if a level has no such layer, or
    one with neither number of channels."""
    times = []
    for i, (_, following) in enumerate(pairwise(widths)):
        layer = f"{half}.levels.{i}.resample.conv"
        shape = first_shape(shapes, f"{layer}.weight", f"{layer}.bias")
        with_time, without = (following // 8, following // 4) if half == "encoder" else (8 * following, 4 * following)
        if shape is None or shape[0] not in (with_time, without):
            return None
        times += [i] * (shape[0] == with_time)
    return tuple(times)


def can_be_built(config: HunyuanVideo15Config) -> bool:
    """Whether channels are divisible as averages and repetitions require."""
    encoder, decoder, latent = config.encoder_widths, config.decoder_widths, config.latent_channels
    halvings = all(
        4 * a % b == 0 and b % (8 if i in config.encoder_time_levels else 4) == 0
        for i, (a, b) in enumerate(pairwise(encoder))
    )
    doublings = all(4 * b % a == 0 for a, b in pairwise(decoder))
    return halvings and doublings and encoder[-1] % (2 * latent) == 0 and decoder[0] % latent == 0


def settings(config: HunyuanVideo15Config, normalization: LatentNormalization | None) -> dict[str, Any]:
    """The `config.json` of AutoencoderKLHunyuanVideo15, which also runs the refiner's weights."""
    last, times = len(config.encoder_widths) - 1, len(config.encoder_time_levels)
    obstacles = mirror_obstacles(config) | {
        "levels that halve frames in other places than before the latent": (
            config.encoder_time_levels != tuple(range(last - times, last))
            or config.decoder_time_levels != tuple(range(times))
        ),
    }
    refuse_obstacles(NAME, obstacles, '"original" or "native"')
    return {
        "_class_name": NAME,
        "block_out_channels": list(config.encoder_widths),
        "downsample_match_channel": True,
        "in_channels": config.image_channels,
        "latent_channels": config.latent_channels,
        "layers_per_block": config.encoder_blocks,
        "out_channels": config.image_channels,
        "spatial_compression_ratio": config.geometry.factors[0],
        "temporal_compression_ratio": 2**times,
        "upsample_match_channel": True,
    } | one_factor(normalization, NAME)


LAYOUTS = (
    Layout("original", "hunyuan-video-1.5", ORIGINAL),
    Layout("native", "hunyuan-video-1.5", same_names(ORIGINAL)),
    Layout("diffusers", "hunyuan-video-1.5", DIFFUSERS),
)
FAMILY = Family(
    name="hunyuan-video-1.5",
    config=HunyuanVideo15Config,
    layouts=LAYOUTS,
    detect=detect_hunyuan_video15,
    build=hunyuan_video15.build,
    posterior_head=lambda _: DiagonalGaussian.from_moments,
    likelihood_head=lambda _: Laplace,
    diffusers=settings,
)

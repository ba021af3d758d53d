"""LTX-Video 0.9.0 and LTX-2: names, detector and settings. The normalization is beside the weights.

The authors number the parts of a half in one sequence, for the published numbers of levels.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.errors import UnknownVAE
from vaekit.families.family import Family, Fields, Shapes, first_shape, highest, refuse_obstacles
from vaekit.families.layout import HALVES, Layout, Rules, leaves, same_names
from vaekit.families.ltx import net as ltx
from vaekit.families.ltx.net import NONE, PATCH, REARRANGED, STRIDED, LTXConfig
from vaekit.families.normalization import LATENTS_MEAN, LATENTS_STD, MEAN_AND_STD, stated_factor
from vaekit.families.single_frame_shapes import CONVOLUTIONS, ENDS, has_kernels_over_time
from vaekit.normalization import LatentNormalization

VIDEO, VIDEO2 = "AutoencoderKLLTXVideo", "AutoencoderKLLTX2Video"
BLOCK = CONVOLUTIONS | {"norm3.{p}": "norm3.{p}", "conv_shortcut.{p}": "conv_shortcut.conv.{p}"}
ORIGINAL_BLOCK = CONVOLUTIONS | {"norm3.{p}": "norm3.norm.{p}", "conv_shortcut.{p}": "conv_shortcut.{p}"}
REARRANGE, STRIDE = {"conv.{p}": "conv.conv.{p}"}, {"strided.{p}": "conv.{p}"}
BY_FACTORS = {time * space**2: step for step, (time, space) in REARRANGED.items()}
"""The steps by the number of values that they rearrange into one position."""

DIFFUSERS = (
    *(rule for half in HALVES for rule in leaves(half, half, ENDS)),
    *(rule for half in HALVES for rule in leaves(f"{half}.mid.{{j}}", f"{half}.mid_block.resnets.{{j}}", BLOCK)),
    *leaves("encoder.levels.{i}.block.{j}", "encoder.down_blocks.{i}.resnets.{j}", BLOCK),
    *leaves("encoder.levels.{i}.resample", "encoder.down_blocks.{i}.downsamplers.0", STRIDE | REARRANGE),
    *leaves("encoder.levels.{i}.widen", "encoder.down_blocks.{i}.conv_out", BLOCK),
    *leaves("decoder.levels.{i}.block.{j}", "decoder.up_blocks.{i}.resnets.{j}", BLOCK),
    *leaves("decoder.levels.{i}.resample", "decoder.up_blocks.{i}.upsamplers.0", REARRANGE),
    *leaves("decoder.levels.{i}.widen", "decoder.up_blocks.{i}.conv_in", BLOCK),
    (LATENTS_MEAN, LATENTS_MEAN),
    (LATENTS_STD, LATENTS_STD),
)


def numbered(places: Mapping[str, Iterable[str]]) -> Rules:
    """The rules of a scheme that numbers the parts of each half in one sequence.

    Args:
        places: for each sequence, the native paths of its parts, in order. Several residual blocks are one part.
    """
    rules: list[tuple[str, str]] = []
    for sequence, parts in places.items():
        for i, native in enumerate(parts):
            foreign = f"{sequence}.{i}"
            if native.endswith(".resample"):
                rules += leaves(native, foreign, STRIDE | REARRANGE)
            elif native.endswith(".widen"):
                rules += leaves(native, foreign, ORIGINAL_BLOCK)
            else:
                rules += leaves(f"{native}.{{j}}", f"{foreign}.res_blocks.{{j}}", ORIGINAL_BLOCK)
    statistics = (
        (LATENTS_MEAN, "per_channel_statistics.mean-of-means"),
        (LATENTS_STD, "per_channel_statistics.std-of-means"),
    )
    return (*(rule for half in HALVES for rule in leaves(half, half, ENDS)), *rules, *statistics)


def parts_of(half: str, levels: Mapping[int, str]) -> list[str]:
    """The native paths of the parts of levels, each given as a list of names separated by spaces."""
    return [f"{half}.levels.{i}.{part}" for i, parts in levels.items() for part in parts.split()]


LTX2 = numbered(
    {
        "encoder.down_blocks": [*parts_of("encoder", dict.fromkeys(range(4), "block resample")), "encoder.mid"],
        "decoder.up_blocks": ["decoder.mid", *parts_of("decoder", dict.fromkeys(range(4), "resample block"))],
    }
)
LTX090 = numbered(
    {
        "encoder.down_blocks": [
            *parts_of("encoder", dict.fromkeys((0, 1), "block resample widen") | {2: "block resample", 3: "block"}),
            "encoder.mid",
        ],
        "decoder.up_blocks": [
            "decoder.mid",
            *parts_of("decoder", {0: "block", 1: "resample block"}),
            *parts_of("decoder", dict.fromkeys((2, 3), "widen resample block")),
        ],
    }
)
UNUSED = ("per_channel_statistics.channel", "per_channel_statistics.mean-of-stds")


def detect_ltx(shapes: Shapes) -> LTXConfig | None:
    """The configuration of an LTX autoencoder, or of one half, which the other is assumed to mirror."""
    down, up = half_shape(shapes, "encoder"), half_shape(shapes, "decoder")
    encoder, decoder = down or mirrored(up), up or mirrored(down)
    first, last = first_shape(shapes, "encoder.conv_in.weight"), first_shape(shapes, "decoder.conv_out.bias")
    pixels = first[1] if first and len(first) > 1 else last[0] if last else 0
    inner, outer = first_shape(shapes, "decoder.conv_in.weight"), first_shape(shapes, "encoder.conv_out.bias")
    latent = inner[1] if inner and len(inner) > 1 else outer[0] - 1 if outer else 0
    if encoder is None or decoder is None or not (latent and pixels) or pixels % PATCH**2:
        return None
    if not has_kernels_over_time(shapes) or any(".norm1." in key for key in shapes):
        return None
    widens = any(key.startswith("decoder.levels.") and ".widen." in key for key in shapes)
    narrowing = not widens and any(a != b for a, b in pairwise(decoder.widths))
    return LTXConfig(
        image_channels=pixels // PATCH**2,
        latent_channels=latent,
        encoder_widths=encoder.widths,
        encoder_blocks=encoder.blocks,
        encoder_steps=encoder.steps,
        decoder_widths=decoder.widths,
        decoder_blocks=decoder.blocks,
        decoder_steps=decoder.steps,
        narrowing=narrowing,
        decoder_padding="reflect" if narrowing else "zeros",
    )


@dataclasses.dataclass(frozen=True)
class HalfShape:
    """Widths, blocks and steps of one half, in the order in which they run."""

    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    steps: tuple[str, ...]


def mirrored(half: HalfShape | None) -> HalfShape | None:
    """The other half, in the way that published models rearrange in both."""
    if half is None:
        return None
    steps = tuple("spatiotemporal" if step == STRIDED else step for step in half.steps[::-1])
    return HalfShape(half.widths[::-1], half.blocks[::-1], steps)


def half_shape(shapes: Shapes, half: str) -> HalfShape | None:
    """The shape of one half; None if it is absent, or if a layer has neither of the known numbers of channels."""
    levels = [f"{half}.levels.{i}.block" for i in range(highest(shapes, rf"{half}\.levels\.(\d+)\."))]
    parts = [*levels, f"{half}.mid"] if half == "encoder" else [f"{half}.mid", *levels]
    firsts = [first_shape(shapes, f"{part}.0.conv1.weight", f"{part}.0.conv2.weight") for part in parts]
    if not levels or None in firsts:
        return None
    widths = tuple(first[0] for first in firsts if first)
    blocks = tuple(highest(shapes, rf"{re.escape(part)}\.(\d+)\.") for part in parts)
    steps = [step_of(shapes, f"{half}.levels.{i}.resample", pair) for i, pair in enumerate(pairwise(widths))]
    known = tuple(step for step in steps if step is not None)
    return HalfShape(widths, blocks, known) if len(known) == len(steps) else None


def step_of(shapes: Shapes, path: str, widths: tuple[int, int]) -> str | None:
    """How a level changes the resolution, from the number of channels before it is rearranged."""
    if any(key.startswith(f"{path}.strided.") for key in shapes):
        return STRIDED
    shape = first_shape(shapes, f"{path}.conv.weight", f"{path}.conv.bias")
    if shape is None:
        return NONE
    inner, outer = sorted((shape[0], widths[1]))
    return BY_FACTORS.get(outer // inner) if outer % inner == 0 else None


def with_padding(config: LTXConfig, metadata: Fields, settings: Fields) -> LTXConfig:
    """Add the padding of the decoder, if the file states it.

    Raises:
        UnknownVAE: a config.json states a network that other files of this kind do not have.
    """
    stated = (metadata.get("decoder_padding"), settings.get("decoder_spatial_padding_mode"))
    padding = next((mode for mode in stated if mode in ("zeros", "reflect")), None)
    if padding is None and settings.get("_class_name") == VIDEO:
        padding = "zeros"
    residual = settings.get("upsample_residual")
    residuals = residual if isinstance(residual, list | tuple) else [config.narrowing]
    if settings.get("patch_size", PATCH) != PATCH or any(each != config.narrowing for each in residuals):
        raise UnknownVAE(
            "The config.json states squares of another size, or shortcuts around other layers, than the weights of "
            "published LTX autoencoders have.",
            f"Expected squares of {PATCH}x{PATCH} pixels, and shortcuts where the resolution and the width change.",
            "Run it with diffusers.",
        )
    return dataclasses.replace(config, decoder_padding=padding or config.decoder_padding)


def settings(config: LTXConfig, normalization: LatentNormalization | None) -> dict[str, Any]:
    """The `config.json` of AutoencoderKLLTX2Video for a decoder with reflection, else of AutoencoderKLLTXVideo.

    The normalization is in tensors of the file.
    """
    second = config.decoder_padding == "reflect"
    name = VIDEO2 if second else VIDEO
    rearranges = all(step in REARRANGED for step in config.encoder_steps)
    widths, decoder = config.encoder_widths, config.decoder_widths
    starts_alone = widths[0] == config.latent_channels if second else True
    obstacles = {
        "a normalization that rearranges latents": normalization is not None and normalization.patch > 1,
        "a decoder whose layers change the width by other factors than two": config.narrowing
        and any(a != 2 * b for a, b in pairwise(decoder)),
        "a decoder whose first level changes the width": not config.narrowing and decoder[0] != decoder[1],
        "an encoder whose last level changes the width": not rearranges and widths[-1] != widths[-2],
        "other layers in the encoder than that class has": second and not (rearranges and starts_alone),
        "layers in the decoder that change only time or only space": not second
        and any(step not in (NONE, "spatiotemporal") for step in config.decoder_steps),
    }
    refuse_obstacles(name, obstacles, '"native"')
    levels, ups = len(config.encoder_steps), len(config.decoder_steps)
    shared = {
        "_class_name": name,
        "decoder_block_out_channels": list((decoder[:-1] if config.narrowing else decoder[1:])[::-1]),
        "decoder_inject_noise": [False] * (ups + 1),
        "decoder_layers_per_block": list(config.decoder_blocks[::-1]),
        "decoder_spatio_temporal_scaling": [step != NONE for step in config.decoder_steps[::-1]],
        "downsample_type": [step or STRIDED for step in config.encoder_steps],
        "in_channels": config.image_channels,
        "latent_channels": config.latent_channels,
        "layers_per_block": list(config.encoder_blocks),
        "out_channels": config.image_channels,
        "patch_size": PATCH,
        "scaling_factor": stated_factor(normalization),
        "spatio_temporal_scaling": [step != NONE for step in config.encoder_steps],
        "timestep_conditioning": False,
        "upsample_factor": [2 if config.narrowing else 1] * ups,
        "upsample_residual": [config.narrowing] * ups,
    }
    if second:
        return shared | {
            "block_out_channels": list(widths[1:]),
            "decoder_spatial_padding_mode": "reflect",
            "down_block_types": ["LTX2VideoDownBlock3D"] * levels,
            "encoder_spatial_padding_mode": "zeros",
            "upsample_type": [step or "spatiotemporal" for step in config.decoder_steps],
        }
    block = "LTXVideo095DownBlock3D" if rearranges else "LTXVideoDownBlock3D"
    return shared | {
        "block_out_channels": list(widths if rearranges else widths[:-1]),
        "down_block_types": [block] * levels,
    }


LAYOUTS = (
    Layout("original", "ltx", LTX2, unused=UNUSED, implies={"narrowing": True}),
    Layout("original", "ltx", LTX090, unused=UNUSED, implies={"narrowing": False}),
    Layout("native", "ltx", same_names(DIFFUSERS)),
    Layout("diffusers", "ltx", DIFFUSERS),
)
FAMILY = Family(
    name="ltx",
    config=LTXConfig,
    layouts=LAYOUTS,
    detect=detect_ltx,
    build=ltx.build,
    posterior_head=lambda _: DiagonalGaussian.from_moments,
    likelihood_head=lambda _: Laplace,
    complete=with_padding,
    diffusers=settings,
    normalization_tensors=MEAN_AND_STD,
)

"""Detection and names shared by the families whose nets are made of the layers in `single_frame`."""

from typing import Any

from vaekit.errors import UnknownVAE
from vaekit.families.convolutional import level_widths
from vaekit.families.family import Fields, Shapes, first_shape, highest
from vaekit.families.layout import HALVES, Rules, leaves

PUBLISHED_GROUPS = 32
"""The number of groups of every GroupNorm in the published models. Shapes do not determine it."""
CONVOLUTIONS = {f"{layer}.{{p}}": f"{layer}.conv.{{p}}" for layer in ("conv1", "conv2")}
"""The convolutions of a residual block are inside a module that pads."""
ENDS = {f"{layer}.{{p}}": f"{layer}.conv.{{p}}" for layer in ("conv_in", "conv_out")}


def video_fields(shapes: Shapes) -> dict[str, Any] | None:
    """The config fields that these families share; a missing half mirrors the other.

    Returns:
        None if there are no levels, or no kernels over time.
    """
    widths, blocks = zip(*(half_shape(shapes, half) for half in HALVES), strict=True)
    channels, latent = image_channels(shapes), latent_channels(shapes)
    if not any(widths) or not (channels and latent) or not has_kernels_over_time(shapes):
        return None
    return {
        "image_channels": channels,
        "latent_channels": latent,
        "encoder_widths": widths[0] or widths[1][::-1],
        "decoder_widths": widths[1] or widths[0][::-1],
        "encoder_blocks": blocks[0] or max(1, blocks[1] - 1),
        "decoder_blocks": blocks[1] or blocks[0] + 1,
    }


def half_shape(shapes: Shapes, half: str) -> tuple[tuple[int, ...], int]:
    """The width of each level of a half, and the number of its residual blocks per level."""
    return level_widths(shapes, f"{half}.levels"), highest(shapes, rf"{half}\.levels\.\d+\.block\.(\d+)\.")


def image_channels(shapes: Shapes) -> int | None:
    """Image channels of the encoder or of the decoder."""
    first = first_shape(shapes, "encoder.conv_in.weight")
    last = first_shape(shapes, "decoder.conv_out.weight", "decoder.conv_out.bias")
    return first[1] if first and len(first) > 1 else last[0] if last else None


def latent_channels(shapes: Shapes) -> int | None:
    """Latent channels of the decoder, or half of the encoder's output channels."""
    first = first_shape(shapes, "decoder.conv_in.weight")
    last = first_shape(shapes, "encoder.conv_out.weight", "encoder.conv_out.bias")
    return first[1] if first and len(first) > 1 else last[0] // 2 if last else None


def has_kernels_over_time(shapes: Shapes) -> bool:
    """Whether the convolutions at the ends of a half have more than one slice in time."""
    ends = (f"{half}.{end}.weight" for half in HALVES for end in ("conv_in", "conv_out"))
    return any(len(shape) == 5 and shape[2] > 1 for shape in (shapes.get(key, ()) for key in ends))


def with_published_groups(config: Any, _metadata: Fields, settings: Fields) -> Any:
    """The config, if the groups of its norms are the published ones.

    Raises:
        UnknownVAE: a config.json states another number, or it does not divide the widths.
    """
    stated = settings.get("norm_num_groups", PUBLISHED_GROUPS)
    if stated != PUBLISHED_GROUPS or any(
        width % PUBLISHED_GROUPS for width in (*config.encoder_widths, *config.decoder_widths)
    ):
        widths = ", ".join(map(str, config.encoder_widths[:12]))
        raise UnknownVAE(
            f"This is a video autoencoder with widths {widths} and {stated} norm groups.",
            f"Expected {PUBLISHED_GROUPS} norm groups, as in every published model of this kind.",
            "Run it with the software that it was made with.",
        )
    return config


def residual_names(native: str, foreign: str, norms: dict[str, str], shortcut: str) -> Rules:
    """The rules of a residual block.

    Args:
        native: the template of its path.
        foreign: its path in the file.
        norms: the leaves of its norms, with the names in the file.
        shortcut: the name of the 1x1 convolution on the shortcut in the file.
    """
    return leaves(native, foreign, norms | CONVOLUTIONS | {"nin_shortcut.{p}": f"{shortcut}.{{p}}"})

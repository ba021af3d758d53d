"""Detect the config of a deep compression autoencoder from native keys and shapes."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from vaekit.families.dcae.net import DCAEConfig
from vaekit.families.family import Shapes, conv_shape, first_shape

PUBLISHED_HEAD = 32
"""Channels of an attention head in all published models."""
MUSIC_WIDTHS = (128, 256, 512, 1024)
"""Of ACE-Step's autoencoder."""
IN_STAGE = re.compile(r"(encoder|decoder)\.stages\.(\d+)\.(\d+)\.(.+)")
LAST_CONV = ("decoder.conv_out.conv.weight", "decoder.conv_out.conv.bias")
Position = dict[str, tuple[int, ...]]
"""The shapes of the tensors of one block, by the ends of their keys."""


@dataclass(frozen=True)
class Half:
    """The stages of one half, from full resolution downwards."""

    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    attention: tuple[int, ...]
    scales: tuple[tuple[int, ...], ...]
    batch_norm: tuple[int, ...]
    heads: tuple[int, ...]
    """Widths of heads, as far as weights of additional scales determine them."""
    between: tuple[Position, ...]
    """The resampling between a stage and the next; empty if it is part of the first or last layer."""


def detect_dcae(shapes: Shapes) -> DCAEConfig | None:
    """The configuration of a deep compression autoencoder of images, or of one half, which the other mirrors."""
    config = detect_audio_or_images(shapes)
    return None if config is None or is_of_music(config) else config


def is_of_music(config: DCAEConfig) -> bool:
    """Whether this is ACE-Step's autoencoder of spectrograms, whose two channels are those of stereo."""
    sizes = (config.image_channels, config.latent_channels, config.encoder_widths, config.decoder_widths)
    return sizes == (2, 8, MUSIC_WIDTHS, MUSIC_WIDTHS)


def detect_audio_or_images(shapes: Shapes) -> DCAEConfig | None:
    """The configuration of a deep compression autoencoder of anything, or of one half, which the other mirrors."""
    encoder, decoder = read_half(shapes, "encoder"), read_half(shapes, "decoder")
    one, other = encoder or decoder, decoder or encoder
    if one is None or other is None or len(one.widths) != len(other.widths):
        return None
    unshuffle, shuffle = unshuffles(shapes, encoder), shuffles(shapes, decoder)
    image_channels = encoder_channels(shapes) or decoder_channels(shapes, shuffle is not False)
    latent_channels = dcae_latent_channels(shapes)
    if not image_channels or not latent_channels:
        return None
    by_pixels = next((known for known in (unshuffle, shuffle) if known is not None), True)
    in_pixels = by_pixels if shuffle is None else shuffle
    batch_norm = decoder.batch_norm if decoder else ()
    config = DCAEConfig(
        image_channels=image_channels,
        latent_channels=latent_channels,
        encoder_widths=one.widths,
        decoder_widths=other.widths,
        encoder_blocks=one.blocks if encoder else mirrored(other, in_encoder),
        decoder_blocks=other.blocks if decoder else mirrored(one, in_decoder),
        encoder_attention=one.attention,
        decoder_attention=other.attention,
        encoder_scales=one.scales,
        decoder_scales=other.scales,
        decoder_batch_norm=batch_norm,
        downsample="pixel_unshuffle" if by_pixels else "conv",
        upsample="pixel_shuffle" if in_pixels else "interpolate",
        head_width=next(iter((*one.heads, *other.heads)), PUBLISHED_HEAD),
        decoder_relu=tuple(i for i in batch_norm if i not in other.attention),
        decoder_out_activation="relu" if other.attention else "silu",
        encoder_out_shortcut=bool(one.attention) and one.widths[-1] % latent_channels == 0,
        decoder_in_shortcut=bool(one.attention) and other.widths[-1] % latent_channels == 0,
    )
    return config if can_be_built(config) else None


def mirrored(half: Half, change: Callable[[int], int]) -> tuple[int, ...]:
    """The numbers of blocks of a missing half. In the published models, they differ in residual stages of models with
    attention: 4 and 8 in the encoder are 5 and 10 in the decoder; in Sana, 2 are 3."""
    residual = (half.attention and i not in half.attention and count for i, count in enumerate(half.blocks))
    return tuple(change(count) if changes else count for count, changes in zip(half.blocks, residual, strict=True))


def in_encoder(count: int) -> int:
    return max(1, count * 4 // 5)


def in_decoder(count: int) -> int:
    return -(-count * 5 // 4)


def read_half(shapes: Shapes, half: str) -> Half | None:
    """The stages of one half; None if it is absent or has another structure."""
    by_stage: dict[int, dict[int, Position]] = {}
    for key, shape in shapes.items():
        match = IN_STAGE.fullmatch(key)
        if match and match[1] == half:
            by_stage.setdefault(int(match[2]), {}).setdefault(int(match[3]), {})[match[4]] = shape
    count = max(by_stage, default=-1) + 1
    if not by_stage or by_stage.keys() | {0} != set(range(count)):
        return None
    stages: list[list[Position]] = []
    between: list[Position] = []
    for i in range(count):
        positions = by_stage.get(i, {})
        listed = [positions.get(j, {}) for j in range(max(positions, default=-1) + 1)]
        if i < count - 1:
            between.append(listed.pop(-1 if half == "encoder" else 0) if listed else {})
        stages.append(listed)
    return half_of(stages, tuple(between))


def half_of(stages: list[list[Position]], between: tuple[Position, ...]) -> Half | None:
    """A half from the blocks of its stages; None if the width of a stage cannot be determined."""
    widths = [width_of(blocks) for blocks in stages]
    if not stages[0] and len(widths) > 1:
        widths[0] = widths[1]
    known = tuple(width for width in widths if width is not None)
    if len(known) < len(widths):
        return None
    grouped = (conv_shape(block, "attn.scales.0.1.weight") for blocks in stages for block in blocks)
    return Half(
        widths=known,
        blocks=tuple(map(len, stages)),
        attention=stages_with(stages, r"(attn|glu)\..+"),
        scales=tuple(scales_of(blocks) for blocks in stages),
        batch_norm=stages_with(stages, r"(attn\.norm_out|norm)\.running_(mean|var)"),
        heads=tuple(shape[1] for shape in grouped if shape),
        between=between,
    )


def stages_with(stages: list[list[Position]], ends: str) -> tuple[int, ...]:
    """Stages with a block that has a tensor with such a key."""
    pattern = re.compile(ends)
    return tuple(
        i for i, blocks in enumerate(stages) if any(pattern.fullmatch(end) for block in blocks for end in block)
    )


def width_of(blocks: list[Position]) -> int | None:
    """The width of a stage, from any tensor of its blocks."""
    keys = (
        "conv1.weight",
        "conv2.weight",
        "norm.weight",
        "attn.proj_out.weight",
        "glu.point.weight",
        "glu.norm.weight",
    )
    shapes = (first_shape(block, *keys) for block in blocks)
    return next((shape[0] for shape in shapes if shape), None)


def scales_of(blocks: list[Position]) -> tuple[int, ...]:
    """Kernel sizes of the additional scales in a stage, from the first block that has each."""
    sizes: list[int] = []
    while True:
        key = f"attn.scales.{len(sizes)}.0.weight"
        shape = next((shape for block in blocks if (shape := conv_shape(block, key))), None)
        if shape is None:
            return tuple(sizes)
        sizes.append(shape[2])


def unshuffles(shapes: Shapes, encoder: Half | None) -> bool | None:
    """Whether the encoder downsamples by pixel unshuffle, from the first layer that downsamples; None if there is
    none."""
    if encoder is None or not encoder.between:
        return None
    first = first_shape(shapes, "encoder.conv_in.conv.weight", "encoder.conv_in.conv.bias")
    inside = (first_shape(position, "conv.weight", "conv.bias") for position in encoder.between)
    smaller = zip((first, *inside), (encoder.widths[1], *encoder.widths[1:]), strict=True)
    return next((4 * shape[0] == width for shape, width in smaller if shape), None)


def shuffles(shapes: Shapes, decoder: Half | None) -> bool | None:
    """Whether the decoder upsamples by pixel shuffle, from the first layer that upsamples; None if there is none."""
    if decoder is None:
        return None
    last, channels = first_shape(shapes, *LAST_CONV), encoder_channels(shapes)
    inside = [first_shape(position, "conv.weight", "conv.bias") for position in decoder.between]
    larger = [*zip(inside, decoder.widths, strict=False), (last, channels)]
    return next((shape[0] == 4 * width for shape, width in larger if shape and width), None)


def encoder_channels(shapes: Shapes) -> int | None:
    """Image channels of the encoder."""
    first = conv_shape(shapes, "encoder.conv_in.weight") or conv_shape(shapes, "encoder.conv_in.conv.weight")
    return first[1] if first else None


def decoder_channels(shapes: Shapes, shuffle: bool) -> int | None:
    """Image channels of the decoder."""
    last = first_shape(shapes, "decoder.conv_out.weight", "decoder.conv_out.bias")
    doubled = first_shape(shapes, *LAST_CONV)
    return last[0] if last else None if doubled is None else doubled[0] // 4 if shuffle else doubled[0]


def dcae_latent_channels(shapes: Shapes) -> int | None:
    first = conv_shape(shapes, "decoder.conv_in.weight")
    last = first_shape(shapes, "encoder.conv_out.weight", "encoder.conv_out.bias")
    return first[1] if first else last[0] if last else None


def can_be_built(config: DCAEConfig) -> bool:
    """Whether channels are divisible as the shortcuts require, and kernel sizes are odd."""
    down = pairwise(config.encoder_widths[not config.encoder_blocks[0] :])
    up = pairwise(config.decoder_widths[not config.decoder_blocks[0] :])
    sizes = [size for scales in (*config.encoder_scales, *config.decoder_scales) for size in scales]
    return (
        all(4 * width % deeper == 0 for width, deeper in down)
        and all(4 * width % deeper == 0 for width, deeper in up)
        and (config.downsample == "conv" or all(width % 4 == 0 for width in config.encoder_widths[1:]))
        and all(size % 2 for size in sizes)
    )

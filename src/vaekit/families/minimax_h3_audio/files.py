"""MiniMax-H3's autoencoder of waveforms: names, detector and settings."""

import dataclasses
import math
from typing import Any

from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.errors import UnknownVAE
from vaekit.families.family import Family, Fields, Shapes, first_shape, highest, refuse_obstacles
from vaekit.families.layout import Layout, Rules, leaves, product, same_names
from vaekit.families.minimax_h3_audio import net as minimax
from vaekit.families.minimax_h3_audio.net import MiniMaxH3AudioConfig, audio_format
from vaekit.families.normalization import mean_and_std
from vaekit.families.waveform import ASSUMED_RATE
from vaekit.families.waveform_files import (
    NORMED,
    PARAMETRIZED,
    agreed,
    conv,
    encoder_sequence,
    half_fields,
    kernel,
    stated_rate,
    width,
)
from vaekit.normalization import LatentNormalization

NAME = "AutoencoderKLMiniMaxH3Audio"
PUBLISHED_RATES: dict[tuple[int, ...], int] = {(2, 4, 4, 5, 5): 32_000}
PUBLISHED_HEADS, PUBLISHED_KERNELS, PUBLISHED_DILATIONS = 8, (3, 7, 11), (1, 3, 5)
SNAKES = {name: name for name in ("act.alpha", "act.beta", "upsample.filter")} | {
    "downsample.filter": "downsample.lowpass.filter"
}
PERCEPTRON = {f"mlp.{name}": f"mlp.{name}" for name in ("norm", "w0", "w1", "w2")}
NARROWING = {name: name for name in ("norm1", "norm2", "norm3", "proj", "attn.proj", "attn.qkv")} | PERCEPTRON
BIASES = {f"attn.{name}": f"attn.{name}" for name in ("q_bias", "v_bias", "zero_k_bias")}


def names(normed: dict[str, str]) -> Rules:
    """The names in diffusers, which are the authors'."""
    block = "decoder.resblocks.{i}"
    return (
        *encoder_sequence("encoder.block", "block", normed),
        *product("encoder.pre_block", "pre_block", NARROWING),
        *leaves("encoder.pre_block", "pre_block", BIASES),
        ("encoder.mean_proj.{p}", "mean_proj.{p}"),
        ("encoder.logs_proj.{p}", "logs_proj.{p}"),
        ("decoder.dec_in_proj.{p}", "dec_in_proj.{p}"),
        *conv("decoder.conv_pre", "decoder.conv_pre", normed),
        *conv("decoder.ups.{i}", "decoder.ups.{i}.0", normed),
        *(rule for n in (1, 2) for rule in conv(f"{block}.convs{n}.{{j}}", f"{block}.convs{n}.{{j}}", normed)),
        *leaves(f"{block}.activations.{{j}}", f"{block}.activations.{{j}}", SNAKES),
        *leaves("decoder.activation_post", "decoder.activation_post", SNAKES),
        *conv("decoder.conv_post", "decoder.conv_post", normed),
    )


def detect_minimax_h3_audio(shapes: Shapes) -> MiniMaxH3AudioConfig | None:
    """The configuration of the autoencoder, or of one half, which the other is assumed to mirror. What weights do not
    determine is as published: heads, dilations, and strides of about half of the kernels."""
    encoder, decoder = half_fields(shapes, "encoder", "conv1"), decoder_fields(shapes)
    inputs = kernel(shapes, "decoder.dec_in_proj")
    latent = inputs[1] if inputs else width(shapes, "encoder.mean_proj") or width(shapes, "encoder.logs_proj")
    norm = first_shape(shapes, *(f"encoder.pre_block.norm{n}.{p}" for n in (1, 3) for p in ("weight", "bias")))
    hidden = inputs[0] if inputs else norm[0] if norm else 0
    if (encoder is None and decoder is None) or not latent or not hidden:
        return None
    if encoder is None and decoder is not None:
        encoder = tuple(decoder["decoder_widths"][::-1]), tuple(decoder["decoder_strides"][::-1])
    assert encoder is not None
    widths, strides = encoder
    fields = decoder or mirrored_decoder(widths, strides)
    if not agreed(strides, strides) or math.prod(strides) != math.prod(fields["decoder_strides"]):
        return None
    return MiniMaxH3AudioConfig(
        latent_channels=latent,
        encoder_widths=widths,
        strides=strides,
        hidden_channels=hidden,
        heads=1 if hidden % PUBLISHED_HEADS else PUBLISHED_HEADS,
        weight_norm=any(key.endswith((".weight_g", ".weight_v")) for key in shapes),
        sample_rate=PUBLISHED_RATES.get(strides, 0),
        **fields,
    )


def decoder_fields(shapes: Shapes) -> dict[str, Any] | None:
    """The fields of the decoder; None if it is missing, or tensors that determine them are."""
    ups = [f"decoder.ups.{i}" for i in range(highest(shapes, r"decoder\.ups\.(\d+)\."))]
    blocks = highest(shapes, r"decoder\.resblocks\.(\d+)\.")
    count = blocks // len(ups) if ups else 0
    sizes = tuple((kernel(shapes, name) or (0, 0, 0))[2] for name in ups)
    widths = (width(shapes, "decoder.conv_pre"), *(width(shapes, name, transposed=True) for name in ups))
    kernels = tuple(block_kernel(shapes, j, count, blocks) for j in range(count))
    depths = [highest(shapes, rf"decoder\.resblocks\.{j}\.convs1\.(\d+)\.") for j in range(count)]
    if not ups or not count or blocks % len(ups) or not all((*sizes, *widths, *kernels, *depths)):
        return None
    if any(size % 2 == 0 for size in kernels):
        return None
    # 4 -> 2 and 9 -> 5 as published; kernel and stride differ by an even number.
    strides = tuple(size - 2 * (size // 4) for size in sizes)
    return {
        "decoder_widths": widths,
        "decoder_strides": strides,
        "decoder_kernels": sizes,
        "kernels": kernels,
        "dilations": tuple(tuple(1 + 2 * i for i in range(depth)) for depth in depths),
    }


def block_kernel(shapes: Shapes, number: int, count: int, blocks: int) -> int:
    """The kernel size of the residual blocks at this place after each upsampling; 0 if no tensor determines it."""
    names = (f"decoder.resblocks.{i}.convs{n}.0" for i in range(number, blocks, count) for n in (1, 2))
    return next((shape[2] for name in names if (shape := kernel(shapes, name))), 0)


def mirrored_decoder(widths: tuple[int, ...], strides: tuple[int, ...]) -> dict[str, Any]:
    """The fields of a decoder with the levels of an encoder, and the residual blocks of the published one."""
    return {
        "decoder_widths": widths[::-1],
        "decoder_strides": strides[::-1],
        "decoder_kernels": tuple(2 * stride - stride % 2 for stride in strides[::-1]),
        "kernels": PUBLISHED_KERNELS,
        "dilations": (PUBLISHED_DILATIONS,) * len(PUBLISHED_KERNELS),
    }


def with_stated_fields(config: MiniMaxH3AudioConfig, metadata: Fields, settings: Fields) -> MiniMaxH3AudioConfig:
    """Add what weights do not determine, if the file states it.

    Raises:
        UnknownVAE: no such network exists, or the sample rate is impossible.
    """
    heads = whole(metadata.get("heads")) or whole(settings.get("num_attention_heads")) or config.heads
    strides = numbers(metadata.get("decoder_strides")) or numbers(settings.get("decoder_rates"))
    dilations = lists(metadata.get("dilations")) or lists(settings.get("resblock_dilation_sizes"))
    try:
        return dataclasses.replace(
            config,
            heads=heads,
            decoder_strides=strides or config.decoder_strides,
            dilations=dilations or config.dilations,
            sample_rate=stated_rate(metadata, settings) or config.sample_rate,
        )
    except ValueError as error:
        raise UnknownVAE(
            f"The file states settings of a {NAME} that its weights contradict: {error}.",
            "Expected heads, strides and dilations of this network: weights do not determine them.",
            "Correct its config.json, or give the path of the weights file alone.",
        ) from error


def whole(value: object) -> int:
    """A positive integer; 0 for anything else."""
    return value if type(value) is int and value > 0 else 0


def numbers(value: object) -> tuple[int, ...]:
    """A list of positive integers; empty for anything else."""
    return tuple(value) if isinstance(value, list) and all(map(whole, value)) else ()


def lists(value: object) -> tuple[tuple[int, ...], ...]:
    """A list of lists of positive integers; empty for anything else."""
    return tuple(map(numbers, value)) if isinstance(value, list) and all(map(numbers, value)) else ()


def assumed(config: MiniMaxH3AudioConfig) -> list[str]:
    """Warnings about what neither weights nor published models determine."""
    rate = [f"The sample rate is assumed to be {ASSUMED_RATE} Hz: weights do not determine it."]
    return [
        *([] if config.sample_rate else rate),
        f"Attention heads ({config.heads}), the decoder's strides {config.decoder_strides} and dilations are taken to "
        "be like the published ones unless the file states them: weights do not determine them.",
    ]


def settings(config: MiniMaxH3AudioConfig, normalization: LatentNormalization | None) -> dict[str, Any]:
    """The `config.json` of AutoencoderKLMiniMaxH3Audio.

    Raises:
        WrongTensors: the class cannot express the network, or the normalization rearranges latents.
    """
    down, up = config.encoder_widths, config.decoder_widths
    refuse_obstacles(
        NAME,
        {
            "weights without weight normalization": not config.weight_norm,
            "encoder widths that do not double with each level": down != tuple(down[0] << i for i in range(len(down))),
            "decoder widths that do not halve with each level": up != tuple(up[0] >> i for i in range(len(up))),
            "channels that are no multiple of the latent's": config.hidden_channels % config.latent_channels != 0,
        },
        '"native"',
    )
    rate = {"sampling_rate": config.sample_rate} if config.sample_rate else {}
    return {
        "_class_name": NAME,
        "decoder_dim": up[0],
        "decoder_kernel_sizes": list(config.decoder_kernels),
        "decoder_rates": list(config.decoder_strides),
        "encoder_dim": down[0],
        "encoder_rates": list(config.strides),
        "latent_channels": config.latent_channels,
        "latent_dim": config.hidden_channels,
        "num_attention_heads": config.heads,
        "resblock_dilation_sizes": [list(each) for each in config.dilations],
        "resblock_kernel_sizes": list(config.kernels),
        **mean_and_std(normalization, config.latent_channels),
    } | rate


LAYOUTS = (
    Layout("diffusers", "minimax-h3-audio", names(NORMED)),
    Layout("native", "minimax-h3-audio", same_names(names(NORMED))),
    Layout("diffusers-parametrized", "minimax-h3-audio", names(PARAMETRIZED)),
)
FAMILY = Family(
    name="minimax-h3-audio",
    config=MiniMaxH3AudioConfig,
    layouts=LAYOUTS,
    detect=detect_minimax_h3_audio,
    build=minimax.build,
    posterior_head=lambda _: DiagonalGaussian.from_log_std,
    likelihood_head=lambda _: Laplace,
    complete=with_stated_fields,
    assumed=assumed,
    diffusers=settings,
    audio=audio_format,
)

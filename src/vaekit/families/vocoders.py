"""HiFi-GAN vocoders: networks that turn log-mel spectrograms into waveforms (Kong et al. 2020, arXiv 2010.05646).

VAEs of spectrograms are published with one, in the same file or in a folder beside theirs. It is a part of the decoder
here, `decoder.vocoder`. The layers are those of HiFi-GAN with three activations: leaky ReLU, SiLU, or BigVGAN's snake
with a low-pass filter around it (Lee et al. 2022, arXiv 2206.04658).
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from math import prod
from operator import add
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.errors import UnknownVAE
from vaekit.families.family import Fields, Shapes, first_shape, highest
from vaekit.families.layout import Rules
from vaekit.families.waveform import NormedConv1d, NormedConvTranspose1d
from vaekit.families.waveform_files import NORMED, conv

PREFIX = "decoder.vocoder."
"""The start of native keys."""
LEAKY, SILU, SNAKE = "leaky_relu", "silu", "snakebeta"
ACTIVATIONS = (LEAKY, SILU, SNAKE)
TANH, CLAMP = "tanh", "clamp"
SLOPE, LAST_SLOPE = 0.1, 0.01
FILTER = 12
"""Values of the low-pass filters around a snake activation."""
KNOWN_FACTORS = {
    (16, 16, 8, 4, 4): (5, 4, 2, 2, 2),
    (16, 15, 8, 4, 4): (6, 5, 2, 2, 2),
    (11, 4, 4, 4, 4, 4): (5, 2, 2, 2, 2, 2),
    (12, 11, 4, 4, 4): (6, 5, 2, 2, 2),
}
"""The upsampling factors of published vocoders (AudioLDM, LTX-2, and both stages of LTX-2.3) by the sizes of their
kernels, which are not twice as large as in other HiFi-GANs."""
FACTORS = ("upsample_factors", "upsample_rates")
DILATIONS = ("resnet_dilations", "resblock_dilation_sizes")
SLOPES = ("leaky_relu_negative_slope", "leaky_relu_slope")
"""The names of settings in diffusers and transformers."""


@dataclass(frozen=True)
class VocoderConfig:
    """The shape of a vocoder."""

    in_channels: int
    """Bins of the spectrogram, of all audio channels."""
    hidden_channels: int
    """Channels before the first upsampling, each of which halves them."""
    out_channels: int
    """Audio channels."""
    upsample_kernels: tuple[int, ...]
    upsample_factors: tuple[int, ...]
    """Samples per position of the previous stage. Weights do not determine them."""
    kernels: tuple[int, ...]
    """Kernel sizes of the residual blocks that run side by side after each upsampling."""
    dilations: tuple[tuple[int, ...], ...]
    """Of each of them. Weights do not determine them, except their number."""
    ends: int = 7
    """The kernel size of the first and the last convolution."""
    activation: str = LEAKY
    slope: float = SLOPE
    """Of leaky ReLUs, except the last one. Weights do not determine it."""
    final: str = TANH
    """How values are limited to [-1, 1]: "tanh", "clamp" or "". Weights do not determine it."""
    bias: bool = True
    """Of the last convolution."""
    statistics: bool = False
    """Whether the file has a mean and a scale of each bin."""
    normalized: bool = False
    """Whether they are applied to spectrograms. Weights do not determine it."""
    weight_norm: bool = False
    """Whether the file holds weights as norms and directions."""

    @property
    def hop(self) -> int:
        """Samples per frame of the spectrogram."""
        return prod(self.upsample_factors)


def snake(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """x + sin(alpha x)^2 / beta with positive parameters (c,), given as logarithms, for x (b, c, t)."""
    frequency, magnitude = alpha.exp()[:, None], beta.exp()[:, None]
    return x + torch.sin(x * frequency).square() / (magnitude + 1e-9)


class SnakeBeta(nn.Module):
    """The snake activation with parameters per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return snake(x, self.alpha, self.beta)


class Filter(nn.Module):
    """A low-pass filter (1, 1, k), whose values are in the file."""

    filter: Tensor

    def __init__(self, length: int = FILTER) -> None:
        super().__init__()
        self.register_buffer("filter", torch.zeros(1, 1, length))

    def for_channels(self, channels: int) -> Tensor:
        """The same filter for each channel."""
        return self.filter.expand(channels, -1, -1)


class Upsample(Filter):
    """Twice as many samples: zeros between them, then the filter; ends are repeated."""

    def forward(self, x: Tensor) -> Tensor:
        length = self.filter.shape[2]
        pad = length // 2 - 1
        repeated = F.pad(x, (pad, pad), mode="replicate")
        filtered = 2 * F.conv_transpose1d(repeated, self.for_channels(x.shape[1]), stride=2, groups=x.shape[1])
        left = 2 * pad + (length - 2) // 2
        return filtered[..., left : left + 2 * x.shape[2]]


class Downsample(Filter):
    """Half as many samples, after the filter; ends are repeated."""

    def forward(self, x: Tensor) -> Tensor:
        length = self.filter.shape[2]
        repeated = F.pad(x, (length // 2 + length % 2 - 1, length // 2), mode="replicate")
        return F.conv1d(repeated, self.for_channels(x.shape[1]), stride=2, groups=x.shape[1])


class AntiAliased(nn.Module):
    """A snake activation at twice the sample rate, between low-pass filters."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.upsample = Upsample()
        self.act = SnakeBeta(channels)
        self.downsample = Downsample()

    def forward(self, x: Tensor) -> Tensor:
        return self.downsample(self.act(self.upsample(x)))


def activation_of(config: VocoderConfig, channels: int, slope: float) -> nn.Module:
    """An activation of a vocoder."""
    if config.activation == SNAKE:
        return AntiAliased(channels)
    return nn.SiLU() if config.activation == SILU else nn.LeakyReLU(slope)


class ResidualBlock(nn.Module):
    """Pairs of convolutions, the first of each dilated, with an activation before either; the results are added."""

    def __init__(self, config: VocoderConfig, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.acts1, self.acts2 = (
            nn.ModuleList(activation_of(config, channels, config.slope) for _ in dilations) for _ in (1, 2)
        )
        conv = NormedConv1d if config.weight_norm else nn.Conv1d
        self.convs1 = nn.ModuleList(
            conv(channels, channels, kernel, dilation=each, padding=(kernel - 1) * each // 2) for each in dilations
        )
        self.convs2 = nn.ModuleList(conv(channels, channels, kernel, padding=kernel // 2) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        for act1, conv1, act2, conv2 in zip(self.acts1, self.convs1, self.acts2, self.convs2, strict=True):
            x = x + conv2(act2(conv1(act1(x))))
        return x


class Vocoder(nn.Module):
    """Log-mel spectrograms (b, in_channels, frames) -> waveforms (b, out_channels, frames * hop)."""

    mean: Tensor
    scale: Tensor

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        self.config = config
        if config.statistics:
            self.register_buffer("mean", torch.zeros(config.in_channels))
            self.register_buffer("scale", torch.ones(config.in_channels))
        conv = NormedConv1d if config.weight_norm else nn.Conv1d
        transposed = NormedConvTranspose1d if config.weight_norm else nn.ConvTranspose1d
        widths = [config.hidden_channels // 2**i for i in range(len(config.upsample_kernels) + 1)]
        self.conv_in = conv(config.in_channels, widths[0], config.ends, padding=config.ends // 2)
        # Snake activations are in the residual blocks only.
        self.before = nn.Identity() if config.activation == SNAKE else activation_of(config, widths[0], config.slope)
        self.upsamplers = nn.ModuleList(
            transposed(a, b, kernel, stride=factor, padding=(kernel - factor) // 2)
            for (a, b), kernel, factor in zip(
                pairwise(widths), config.upsample_kernels, config.upsample_factors, strict=True
            )
        )
        self.resnets = nn.ModuleList(
            ResidualBlock(config, width, kernel, dilations)
            for width in widths[1:]
            for kernel, dilations in zip(config.kernels, config.dilations, strict=True)
        )
        self.act_out = activation_of(config, widths[-1], LAST_SLOPE)
        self.conv_out = conv(widths[-1], config.out_channels, config.ends, padding=config.ends // 2, bias=config.bias)

    def forward(self, mel: Tensor) -> Tensor:
        if self.config.normalized:
            mel = (mel - self.mean[:, None]) / self.scale[:, None]
        h = self.conv_in(mel)
        count = len(self.config.kernels)
        for i, upsample in enumerate(self.upsamplers):
            h = upsample(self.before(h))
            h = reduce(add, [block(h) for block in self.resnets[i * count : (i + 1) * count]]) / count
        # Where kernel and factor differ by an odd number, there are some samples more.
        wave = self.conv_out(self.act_out(h))[..., : mel.shape[2] * self.config.hop]
        if self.config.final == TANH:
            return wave.tanh()
        return wave.clamp(-1, 1) if self.config.final == CLAMP else wave


def vocoder_rules(native: str, names: Mapping[str, str]) -> Rules:
    """The rules of a vocoder.

    Args:
        native: the start of its native keys.
        names: the foreign templates of its parts: conv_in, upsamplers.{i}, resnets.{i}, conv_out; and, if it may have
            snake activations, act_out and the name of the filter "downsample.filter".
    """
    block = names["resnets.{i}"]
    convolutions = {part: names[part] for part in ("conv_in", "upsamplers.{i}", "conv_out")}
    convolutions |= {f"resnets.{{i}}.convs{n}.{{j}}": f"{block}.convs{n}.{{j}}" for n in (1, 2)}
    rules = tuple(rule for own, foreign in convolutions.items() for rule in conv(f"{native}{own}", foreign, NORMED))
    if "act_out" not in names:
        return rules
    activations = {f"resnets.{{i}}.acts{n}.{{j}}": f"{block}.acts{n}.{{j}}" for n in (1, 2)} | {
        "act_out": names["act_out"]
    }
    leaves = {leaf: leaf for leaf in ("act.alpha", "act.beta", "upsample.filter")}
    leaves |= {"downsample.filter": names["downsample.filter"]}
    inside = (
        (f"{native}{own}.{leaf}", f"{foreign}.{name}")
        for own, foreign in activations.items()
        for leaf, name in leaves.items()
    )
    return (*rules, *inside)


def detect_vocoder(shapes: Shapes, start: str = PREFIX) -> VocoderConfig | None:
    """The configuration of the vocoder among native tensors; None if there is none, or it has another structure."""
    first, last = (weight_shape(shapes, start + name) for name in ("conv_in", "conv_out"))
    count = highest(shapes, rf"{start}upsamplers\.(\d+)\.")
    blocks = highest(shapes, rf"{start}resnets\.(\d+)\.")
    ups = [weight_shape(shapes, f"{start}upsamplers.{i}") for i in range(count)]
    if first is None or last is None or len(first) != 3 or len(last) != 3 or not count or blocks % count or not blocks:
        return None
    inside = [weight_shape(shapes, f"{start}resnets.{i}.convs1.0") for i in range(blocks // count)]
    if any(shape is None or len(shape) != 3 for shape in (*ups, *inside)) or first[0] % 2**count:
        return None
    upsample_kernels = tuple(shape[2] for shape in ups if shape)
    kernels = tuple(shape[2] for shape in inside if shape)
    pairs = tuple(highest(shapes, rf"{start}resnets\.{i}\.convs1\.(\d+)\.") for i in range(len(kernels)))
    is_snake = f"{start}act_out.act.alpha" in shapes
    return VocoderConfig(
        in_channels=first[1],
        hidden_channels=first[0],
        out_channels=last[0],
        upsample_kernels=upsample_kernels,
        upsample_factors=KNOWN_FACTORS.get(upsample_kernels, tuple(max(1, size // 2) for size in upsample_kernels)),
        kernels=kernels,
        dilations=tuple(tuple(range(1, 2 * number, 2)) for number in pairs),
        ends=first[2],
        activation=SNAKE if is_snake else LEAKY,
        final="" if is_snake else TANH,
        bias=f"{start}conv_out.bias" in shapes,
        statistics=f"{start}mean" in shapes,
        normalized=f"{start}mean" in shapes,
        weight_norm=f"{start}conv_in.weight_v" in shapes,
    )


def weight_shape(shapes: Shapes, layer: str) -> tuple[int, ...] | None:
    """The shape of the weight of a convolution, or of its directions."""
    return first_shape(shapes, f"{layer}.weight", f"{layer}.weight_v")


def with_stated_vocoder(config: VocoderConfig, fields: Fields, start: str = "") -> VocoderConfig:
    """Add what weights do not determine, if the metadata or the vocoder's config.json states it.

    Args:
        config: as detected.
        fields: of the metadata or the config.json.
        start: of the names of these fields.

    Raises:
        UnknownVAE: an entry is impossible.
    """

    def stated(*names: str) -> Any:
        return next((fields[start + name] for name in names if fields.get(start + name) is not None), None)

    factors, dilations, slope = stated(*FACTORS), stated(*DILATIONS), stated("slope", *SLOPES)
    dilations = stated("dilations") if dilations is None else dilations
    final = fields.get(f"{start}final", fields.get(f"{start}final_act_fn", config.final)) or ""
    changes: dict[str, Any] = {}
    if factors is not None:
        changes["upsample_factors"] = tuple(factors) if isinstance(factors, list | tuple) else ()
    if dilations is not None:
        changes["dilations"] = tuple(map(tuple, dilations)) if is_nested(dilations) else ()
    if isinstance(slope, float) and 0 <= slope < 1:
        changes["slope"] = slope
    normalized = stated("normalized", "normalize_before")
    if isinstance(normalized, bool) and config.statistics:
        changes["normalized"] = normalized
    changed = dataclasses.replace(config, **changes, final=final if final in (TANH, CLAMP, "") else config.final)
    if not is_possible(changed):
        raise UnknownVAE(
            f"The config.json of the vocoder states upsampling by {factors} and dilations of {dilations}.",
            f"Expected {len(config.upsample_kernels)} factors, at most as large as the kernels "
            f"{config.upsample_kernels}, and dilations for kernels of {config.kernels}.",
            "Download the vocoder again, with its config.json.",
        )
    return changed


def is_nested(value: object) -> bool:
    """Whether a value is a list of lists."""
    return isinstance(value, list | tuple) and all(isinstance(each, list | tuple) for each in value)


def is_possible(config: VocoderConfig) -> bool:
    """Whether factors and dilations fit the kernels."""
    factors, kernels = config.upsample_factors, config.upsample_kernels
    return (
        len(factors) == len(kernels)
        and all(type(factor) is int and 1 <= factor <= kernel for factor, kernel in zip(factors, kernels, strict=True))
        and len(config.dilations) == len(config.kernels)
        and all(type(each) is int and 1 <= each <= 2**10 for row in config.dilations for each in row)
    )


def vocoder_settings(config: VocoderConfig) -> dict[str, Any]:
    """The entries of diffusers' LTX2Vocoder."""
    return {
        "act_fn": config.activation,
        "antialias": config.activation == SNAKE,
        "final_act_fn": config.final or None,
        "final_bias": config.bias,
        "hidden_channels": config.hidden_channels,
        "in_channels": config.in_channels,
        "leaky_relu_negative_slope": config.slope,
        "out_channels": config.out_channels,
        "resnet_dilations": [list(row) for row in config.dilations],
        "resnet_kernel_sizes": list(config.kernels),
        "upsample_factors": list(config.upsample_factors),
        "upsample_kernel_sizes": list(config.upsample_kernels),
    }


def no_vocoder(present: bool, name: str) -> list[str]:
    """A sentence for a VAE of spectrograms without a vocoder.

    Args:
        present: whether it has one.
        name: of the vocoder's class.
    """
    if present:
        return []
    return [
        "There is no vocoder in the file, nor in a folder `vocoder` beside its folder: decoded spectrograms become "
        f"waveforms by the Griffin-Lim algorithm, which sounds worse than the vocoder ({name})."
    ]

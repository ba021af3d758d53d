"""Small networks over one axis, such as those of audio, and a random generator of them."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from row_interpreter import Net
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.geometry import Geometry
from vaekit.runtime.streaming.lowering_rules import lower
from vaekit.runtime.streaming.schedule import Stages, staged
from vaekit.runtime.streaming.tracing import LINES, Trace, trace
from vaekit.vae import VAE


class Snake(nn.Module):
    """x + sin(a x)^2 / b, with factors for each channel (arXiv 2006.08195)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.a, self.b = (nn.Parameter(torch.rand(1, channels, 1) + 0.5) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return x + (self.b + 1e-9).reciprocal() * torch.sin(self.a * x).pow(2)


class Beside(nn.Module):
    """Layers beside a shortcut, which is cropped in the middle if they shorten the item."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        made = self.layers(x)
        crop = (x.shape[-1] - made.shape[-1]) // 2
        return made + (x[..., crop : crop + made.shape[-1]] if crop else x)


class ChannelNorm(nn.Module):
    """A norm of the channels at each position."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.transpose(1, 2)).transpose(1, 2)


class Attention(nn.Module):
    """Attention of all positions, beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(channels, channels) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        steps = x.transpose(1, 2)
        q, k, v = (each(steps) for each in (self.q, self.k, self.v))
        return x + F.scaled_dot_product_attention(q, k, v).transpose(1, 2)


class Recurrent(nn.Module):
    """An LSTM, beside a shortcut, as in EnCodec (arXiv 2210.13438)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, channels, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.lstm(x.transpose(1, 2))[0].transpose(1, 2)


class CausalConv(nn.Module):
    """A convolution that pads at the start only."""

    def __init__(self, channels: int, kernel: int, dilation: int, mode: str) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, kernel, dilation=dilation)
        self.reach, self.mode = dilation * (kernel - 1), mode

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (self.reach, 0), mode=self.mode))


def unit(generator: random.Random, channels: int) -> nn.Module:
    """A random layer that keeps the number of channels and of positions."""
    kernel, dilation = generator.choice((1, 3, 5, 7)), generator.choice((1, 1, 2, 3, 9))
    mode = generator.choice(("zeros", "zeros", "reflect", "replicate"))
    mode = mode if dilation * (kernel - 1) < 8 else "zeros"  # items have eight positions or more
    groups = generator.choice((1, 1, 2, channels))
    conv = nn.Conv1d(
        channels,
        channels,
        kernel,
        padding=dilation * (kernel // 2),
        dilation=dilation,
        groups=groups,
        padding_mode=mode,
    )
    causal = CausalConv(channels, min(kernel, 5), 1, {"zeros": "constant"}.get(mode, mode))
    choices: tuple[Callable[[], nn.Module], ...] = (
        lambda: conv,
        lambda: causal,
        lambda: Snake(channels),
        lambda: ChannelNorm(channels),
        lambda: Beside(Snake(channels), conv, Snake(channels), nn.Conv1d(channels, channels, 1)),
        lambda: Beside(nn.SiLU(), nn.Conv1d(channels, channels, 3, padding="same")),
        lambda: nn.Sequential(Beside(nn.Conv1d(channels, channels, 3)), nn.ReplicationPad1d(1)),
        lambda: nn.Sequential(nn.ELU(), nn.ConstantPad1d((-1, 1), 0.5)),
    )
    return generator.choice(choices)()


def down(generator: random.Random, inputs: int, outputs: int, stride: int) -> nn.Module:
    """A random layer with fewer positions by a factor."""
    kind = generator.randrange(4)
    if kind == 0:
        return nn.Conv1d(inputs, outputs, stride, stride)
    if kind == 1:
        return nn.Conv1d(inputs, outputs, 2 * stride + stride % 2, stride, (stride + stride % 2) // 2)
    if kind == 2:
        return nn.Sequential(nn.ConstantPad1d((stride, 0), 0.0), nn.Conv1d(inputs, outputs, 2 * stride, stride))
    grouped = Net(lambda x: x.unflatten(2, (-1, stride)).transpose(2, 3).flatten(1, 2))
    return nn.Sequential(grouped, nn.Conv1d(inputs * stride, outputs, 1))


def up(generator: random.Random, inputs: int, outputs: int, stride: int) -> nn.Module:
    """A random layer with more positions by a factor."""
    kind = generator.randrange(5)
    if kind == 0 or stride == 1:
        return nn.ConvTranspose1d(inputs, outputs, stride, stride)
    if kind == 1:
        return nn.ConvTranspose1d(inputs, outputs, 2 * stride, stride, -(-stride // 2), stride % 2)
    if kind == 2:  # cropped at the end, as causal networks do
        full = nn.ConvTranspose1d(inputs, outputs, 2 * stride, stride)
        return nn.Sequential(full, Net(lambda x: x[..., : x.shape[-1] - stride]))
    if kind == 3:
        return nn.Sequential(nn.Upsample(scale_factor=stride), nn.Conv1d(inputs, outputs, 3, padding=1))
    divided = Net(lambda x: x.unflatten(1, (-1, stride)).transpose(2, 3).flatten(2))
    return nn.Sequential(nn.Conv1d(inputs, outputs * stride, 1), divided)


@dataclass(frozen=True)
class Shapes:
    """A config with a geometry only."""

    geometry: Geometry


class Line(nn.Sequential):
    """Layers with the config of a VAE."""

    def __init__(self, geometry: Geometry, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.config = Shapes(geometry)


def random_vae(seed: int, whole: bool = False, chunked: bool = False) -> VAE:
    """A VAE over one axis with random layers and weights.

    Args:
        seed: of the layers and the weights.
        whole: whether some layers need all positions: attention, an LSTM or a norm over them.
        chunked: whether it is defined on chunks, of random lengths and overlaps.
    """
    generator = random.Random(seed)
    torch.manual_seed(seed)
    strides = [generator.choice((1, 2, 3, 4)) for _ in range(generator.randrange(1, 4))]
    hop = 1
    for stride in strides:
        hop *= stride
    channels, latents = generator.choice((1, 2)), generator.choice((1, 3))
    padding = generator.choice(("edge", "zeros"))
    geometry, width = Geometry(channels, latents, (hop,), least_positions=8, padding=padding), 4
    if chunked:
        chunk = hop * generator.randrange(8, 20)
        overlap = generator.choice((0, 1, chunk // 100, generator.randrange(chunk // 2 + 1)))
        geometry = replace(geometry, padding="zeros", chunk=chunk, overlap=overlap)
    middle: Callable[[], list[nn.Module]] = lambda: (  # noqa: E731
        [generator.choice((Attention, Recurrent, lambda width: nn.GroupNorm(2, width)))(width)] if whole else []
    )
    encoder: list[nn.Module] = [nn.Conv1d(channels, width, 7, padding=3)]
    for stride in strides:
        encoder += [unit(generator, width), down(generator, width, width, stride)]
    encoder += [*middle(), unit(generator, width), nn.Conv1d(width, 2 * latents, 3, padding=1)]
    decoder: list[nn.Module] = [nn.Conv1d(latents, width, 3, padding=1), *middle()]
    for stride in reversed(strides):
        decoder += [up(generator, width, width, stride), unit(generator, width)]
    decoder += [nn.Conv1d(width, channels, 7, padding=3, bias=False)]
    halves = Line(geometry, *encoder), Line(geometry, *decoder)
    return VAE(halves[0], DiagonalGaussian.from_moments, halves[1], Laplace).eval()


def traced_line(network: nn.Module, channels: int, hop: int = 1) -> Trace:
    """The trace of a network over one axis."""
    return trace(network, lambda rows, _: torch.zeros(1, channels, rows * hop), LINES)


def line_stages(network: nn.Module, channels: int, rows: int, hop: int = 1) -> Stages:
    """The stages of a network over one axis for a latent with this number of positions."""
    return staged(*lower(traced_line(network, channels, hop), rows, 1, {}), one_resolution=False)


def as_network_input(vae: VAE, x: Tensor) -> Tensor:
    """An item as the encoder takes it: padded at its end to a whole number of latent positions."""
    missing = vae.geometry.padded_size(x.shape[2:])[0] - x.shape[2]
    last = x[..., -1:] if vae.geometry.padding == "edge" else torch.zeros_like(x[..., -1:])
    return torch.cat([x, *[last] * missing], dim=2)

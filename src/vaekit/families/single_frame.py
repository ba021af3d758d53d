"""Layers of video autoencoders, run on a single frame.

Many video autoencoders pad a video in time by repeating its first frame (and its last one, if they are not causal). For
a video of one frame all slices of a kernel thus see the same frame: the convolution over time is a 2-D convolution by
the sum of the slices, exactly. The weights keep their time axis, so that files are converted bit for bit.
"""

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

Padding = Literal["zeros", "replicate", "reflect"]
Norm = Callable[[int], nn.Module]
"""Creates a norm for a number of channels."""
MODES = {"zeros": "constant", "replicate": "replicate", "reflect": "reflect"}


class RepeatedFrameConv(nn.Conv3d):
    """A convolution over frames that are all equal: images (b, c, h, w) -> (b, c', h', w').

    Args:
        in_channels: of the input.
        out_channels: of the output.
        size: of the kernel along each side, or in time, rows and columns.
        padding: of rows and columns, by half the size of an odd kernel; none for a kernel of two.
        stride: in rows and columns.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: int | tuple[int, int, int] = 3,
        padding: Padding = "replicate",
        stride: int = 1,
    ) -> None:
        super().__init__(in_channels, out_channels, size)
        self.around, self.mode, self.step = (self.kernel_size[-1] - 1) // 2, MODES[padding], stride

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, (self.around,) * 4, self.mode) if self.around else x
        # The cost of the sum is negligible.
        return F.conv2d(padded, self.weight.sum(2), self.bias, stride=self.step)


class ResidualBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))), with a 1x1 convolution on the shortcut where the width changes."""

    def __init__(self, in_channels: int, out_channels: int, norm: Norm, padding: Padding = "replicate") -> None:
        super().__init__()
        self.norm1 = norm(in_channels)
        self.conv1 = RepeatedFrameConv(in_channels, out_channels, padding=padding)
        self.norm2 = norm(out_channels)
        self.conv2 = RepeatedFrameConv(out_channels, out_channels, padding=padding)
        same = in_channels == out_channels
        self.nin_shortcut = nn.Identity() if same else RepeatedFrameConv(in_channels, out_channels, 1)

    def forward(self, x: Tensor, *latent: Tensor) -> Tensor:
        """Norms that depend on the latent take it as well."""
        h = self.conv1(F.silu(self.norm1(x, *latent)))
        h = self.conv2(F.silu(self.norm2(h, *latent)))
        return self.nin_shortcut(x) + h


class Attention(nn.Module):
    """Single-head self-attention over the positions of the frame, added to its input."""

    def __init__(self, channels: int, norm: Norm, projection: Callable[[int, int, int], nn.Module]) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.q, self.k, self.v, self.proj_out = (projection(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (layer(h).flatten(2).transpose(1, 2).unsqueeze(1) for layer in (self.q, self.k, self.v))
        h = F.scaled_dot_product_attention(q, k, v)
        return x + self.proj_out(h.squeeze(1).transpose(1, 2).reshape(x.shape))


class Middle(nn.Module):
    """Two residual blocks at the lowest resolution, with attention between them in some models."""

    def __init__(
        self, channels: int, norm: Norm, padding: Padding = "replicate", attention: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(channels, channels, norm, padding)
        self.attn_1 = nn.Identity() if attention is None else attention
        self.block_2 = ResidualBlock(channels, channels, norm, padding)

    def forward(self, x: Tensor, *latent: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x, *latent)), *latent)


class Level(nn.Module):
    """Residual blocks at one resolution, then a change of resolution, except in the last level of a half."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        count: int,
        norm: Norm,
        resample: nn.Module | None,
        padding: Padding = "replicate",
    ) -> None:
        super().__init__()
        widths = [in_channels] + [out_channels] * count
        self.block = nn.ModuleList(ResidualBlock(a, b, norm, padding) for a, b in pairwise(widths))
        self.resample = nn.Identity() if resample is None else resample

    def forward(self, x: Tensor, *latent: Tensor) -> Tensor:
        for block in self.block:
            x = block(x, *latent)
        return self.resample(x)


def run_levels(levels: Iterable[nn.Module], x: Tensor, *latent: Tensor) -> Tensor:
    """The output of the last level."""
    for level in levels:
        x = level(x, *latent)
    return x

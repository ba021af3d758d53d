"""Small networks in fixed-point arithmetic, which gives the same bits on every machine.

Networks that give the probabilities of an entropy coder must not differ in a single bit between the machine that
compresses and the one that decompresses (Balle et al. 2019, "Integer networks for data compression with latent-variable
models"). Here weights are rounded to multiples of 2^-14 and activations to multiples of 2^-12 in [-2^10, 2^10]. Their
products and sums are exact in double precision as long as they are below 2^53 units of 2^-26: sums of the absolute
weights of an output below 2^17 suffice, in any order of summation and with any fused operation. So rounding is the only
operation that rounds, and it is defined exactly.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WEIGHT_BITS = 14
BITS = 12
"""Binary digits behind the point, of weights and of activations."""
LARGEST = 2.0**10
"""Of an activation."""
LARGEST_WEIGHTS = 2.0**17
"""The largest sum of the absolute weights of an output."""

MOST_VALUES = 2**22
"""Of a matrix product's input, which bounds the memory."""


def rounded(x: Tensor, bits: int = BITS) -> Tensor:
    """Values in double precision, rounded to the nearest multiple of 2^-bits, halves upwards."""
    return torch.floor(x.double() * 2.0**bits + 0.5) / 2.0**bits


def activations(x: Tensor) -> Tensor:
    """Values rounded and clamped as activations."""
    return rounded(x).clamp(-LARGEST, LARGEST)


@torch.no_grad()
def fixed_point(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    """Apply convolutions of odd size without stride, ReLUs and pixel shuffles in fixed-point arithmetic.

    Args:
        layers: of these kinds; convolutions are padded with zeros to keep the size.
        x: (b, c, h, w), of values that are rounded as activations.

    Raises:
        ValueError: the weights are so large that sums could be inexact, or non-finite.
        TypeError: a layer is of another kind.
    """
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            x = convolution(layer, x)
        elif isinstance(layer, nn.ReLU | nn.PixelShuffle):
            x = layer(x)
        else:
            raise TypeError(f"{type(layer).__name__} has no form in fixed-point arithmetic")
    return x


def convolution(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A convolution as a matrix product, since other algorithms compute with sums of weights."""
    weight = rounded(layer.weight, WEIGHT_BITS).flatten(1)
    if not bool(weight.abs().sum(dim=1).max() < LARGEST_WEIGHTS):
        raise ValueError("weights are too large for fixed-point arithmetic")
    bias = torch.zeros(len(weight)) if layer.bias is None else layer.bias
    shift = rounded(bias).clamp(-LARGEST, LARGEST)[:, None]
    side = layer.kernel_size[0]
    padded = F.pad(activations(x), [side // 2] * 4)
    rows, (height, width) = max(1, MOST_VALUES // (weight.shape[1] * padded.shape[3])), x.shape[2:]
    bands = [
        activations(weight @ F.unfold(padded[:, :, first : first + rows + side - 1], side) + shift)
        for first in range(0, height, rows)
    ]
    return torch.cat(bands, dim=2).unflatten(2, (height, width))

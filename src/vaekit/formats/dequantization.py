"""Undo the quantization of weights: stored values times their scales, and rotated back.

A scale belongs to a whole tensor, to a row (an output channel), or to a block. Block sizes are not stored with every
file; they follow from the shapes where only one size is plausible. "ConvRot" rotates the input channels of a weight in
groups of g by a regular Hadamard matrix before rounding (arXiv 2512.03673):

    W = (scale * stored) H        H = H4 (x) ... (x) H4 / sqrt(g), which is symmetric and its own inverse

Sources: `dequantize_int8_convrot_weight` and `_build_hadamard` in Comfy-Org/comfy-kitchen; for convolutions, whose
input channels are rotated at each position of the kernel, the converters that write such files.
"""

import math
from functools import cache

import torch
from torch import Tensor

MOST_ROTATED = 4096
"""The maximum size of a rotated group; published files have 16 to 256."""
H4 = ((1, 1, 1, -1), (1, 1, -1, 1), (1, -1, 1, 1), (-1, 1, 1, 1))
"""The regular Hadamard matrix of size 4: its rows have equal sums."""
Shape = tuple[int, ...]


def dequantized(stored: Tensor, scale: Tensor, block: int | None = None, group: int = 0) -> Tensor:
    """The weights that a quantized tensor stands for, in float32.

    Args:
        stored: in 8 bits, or any other dtype.
        scale: of a shape that `scale_shape` accepts.
        block: the size of a block along each axis that has several; None if it is not known.
        group: the number of input channels that were rotated together; 0 if none were.
    """
    shape = tuple(stored.shape)
    expanded = scale_shape(shape, tuple(scale.shape), block)
    assert expanded is not None, "the shape of the scale was checked before"
    viewed, sides = expanded
    factors = scale.float().reshape(sides)
    for axis, (side, size) in enumerate(zip(sides, viewed, strict=True)):
        if 1 < side < size:
            length = block_size(size, side, block)
            assert length is not None
            factors = factors.repeat_interleave(length, axis).narrow(axis, 0, size)
    values = (stored.float().reshape(viewed) * factors).reshape(shape)
    return rotated_back(values, group) if group else values


def scale_shape(shape: Shape, scale: Shape, block: int | None = None) -> tuple[Shape, Shape] | None:
    """How scales are applied: the shapes to which weights and scales are reshaped, axis by axis.

    >>> scale_shape((8, 4, 3, 3), (8,))
    ((8, 4, 3, 3), (8, 1, 1, 1))
    >>> scale_shape((256, 128), (2, 1), 128)
    ((256, 128), (2, 1))

    Returns:
        Both shapes; None if the shapes do not determine which scale belongs to which weight.
    """
    if math.prod(scale) == 1:
        return shape, (1,) * len(shape)
    while len(scale) > len(shape) and scale[-1] == 1:
        scale = scale[:-1]
    if len(scale) == 1 and scale != shape[:1]:
        return None
    if len(scale) == 1:
        scale = (*scale, *[1] * (len(shape) - 1))
    elif len(scale) == 2 and len(shape) > 2:  # of input channels, or of the matrix with a row per output channel
        if block_size(shape[1], scale[1], block):
            scale = (*scale, *[1] * (len(shape) - 2))
        else:
            shape = (shape[0], math.prod(shape[1:]))
    if len(scale) != len(shape):
        return None
    known = (block_size(size, side, block) for size, side in zip(shape, scale, strict=True))
    return (shape, scale) if all(known) else None


def block_size(size: int, count: int, stated: int | None = None) -> int | None:
    """The number of weights along an axis of `size` that share each of `count` scales; the last block may be smaller.

    Blocks are equal parts or powers of two.

    >>> block_size(256, 2), block_size(200, 2, 128), block_size(96, 2)
    (128, 128, None)

    Returns:
        The size of a block; None if no size or several are plausible.
    """
    if not 0 < count <= size:
        return None
    if count in (1, size):
        return size // count
    if stated is not None:
        return stated if stated > 0 and -(-size // stated) == count else None
    equal = size // count if size % count == 0 else None
    powers = (1 << bit for bit in range(size.bit_length()))
    power = next((power for power in powers if -(-size // power) == count), None)
    if equal is None or power is None:
        return equal or power
    return equal if equal == power else None


def can_rotate(shape: Shape, group: int) -> bool:
    """Whether input channels of a weight of this shape can be rotated in groups of this size, a power of four."""
    if len(shape) < 2 or not 4 <= group <= MOST_ROTATED or shape[1] % group:
        return False
    return group & (group - 1) == 0 and group.bit_length() % 2 == 1


def rotated_back(values: Tensor, group: int) -> Tensor:
    """Rotate the input channels of weights (out, in, ...) in groups; the rotation is its own inverse."""
    channels_last = values.movedim(1, -1)
    groups = channels_last.unflatten(-1, (-1, group)) @ hadamard(group)
    return groups.flatten(-2).movedim(-1, 1).contiguous()


@cache
def hadamard(size: int) -> Tensor:
    """The orthonormal regular Hadamard matrix of a size that is a power of four."""
    matrix = basis = torch.tensor(H4, dtype=torch.float32)
    while len(matrix) < size:
        matrix = torch.kron(matrix, basis)
    return matrix / math.sqrt(size)

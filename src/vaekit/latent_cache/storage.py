"""How latents are stored: fp32, fp16, int8 with a scale and an offset for each channel, or coded (`coded_storage`).

An int8 tensor `name` is accompanied by `name_scale` and `name_offset`: value = (stored + 128) * scale + offset. They
are computed for each item and channel over the positions of the latent; small latents share those of their shard.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vaekit.latent_cache.coded_storage import SHAPE, is_coded, restored_coded, stored_coded

SCALE, OFFSET = "_scale", "_offset"
LEVELS = 255
"""Steps between the smallest and the largest value of a channel."""
ZERO = 128
SHARED = 64
"""Latents with fewer positions share scale and offset with those of the other items of their shard."""
CODED = "coded"
DTYPES = {"fp32": torch.float32, "fp16": torch.float16}


def stored(name: str, values: Tensor, dtype: str, steps: Sequence[float] = ()) -> dict[str, Tensor]:
    """The tensors of a file for latents (n, z, *latent) in fp32.

    Args:
        name: of the tensor.
        values: finite values, and below 65,504 for fp16.
        dtype: fp32, fp16, int8 or coded.
        steps: of each channel, to which coded latents are rounded.
    """
    if dtype == CODED:
        return stored_coded(name, values, steps)
    if dtype != "int8":
        return {name: values.to(DTYPES[dtype])}
    items = (0,) if math.prod(values.shape[2:]) < SHARED else ()
    over = (*items, *range(2, values.dim()))
    low, high = (values.amin(over), values.amax(over))
    low, high = (each[None] if items else each for each in (low, high))
    scale = ((high.double() - low.double()) / LEVELS).float()
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    shape = (*scale.shape, *[1] * (values.dim() - 2))
    levels = ((values - low.reshape(shape)) / scale.reshape(shape)).round().clamp(0, LEVELS) - ZERO
    return {name: levels.to(torch.int8), f"{name}{SCALE}": scale, f"{name}{OFFSET}": low}


def restored(tensors: Mapping[str, Tensor], name: str, rows: Tensor) -> Tensor:
    """The latents of some items in fp32, (b, z, *latent).

    Args:
        tensors: of a shard.
        name: of the tensor.
        rows: indices of the items, (b,).

    Raises:
        BadArchive: coded latents are damaged.
    """
    if f"{name}{SHAPE}" in tensors:
        return restored_coded(tensors, name, rows)
    values = tensors[name].index_select(0, rows).float()
    if f"{name}{SCALE}" not in tensors:
        return values
    scale, offset = (tensors[f"{name}{end}"] for end in (SCALE, OFFSET))
    if len(scale) > 1 or len(tensors[name]) == 1:
        scale, offset = (each.index_select(0, rows) for each in (scale, offset))
    shape = (*scale.shape, *[1] * (values.dim() - 2))
    return (values + ZERO) * scale.reshape(shape) + offset.reshape(shape)


def holds(tensors: Mapping[str, Tensor], name: str) -> bool:
    """Whether a file has a tensor, in any dtype."""
    return name in tensors or f"{name}{SHAPE}" in tensors


def is_stored(tensors: Mapping[str, Tensor], name: str, shape: Sequence[int], dtype: str) -> bool:
    """Whether a file has a tensor (n, z, *latent) of a shape in a dtype, with what belongs to it."""
    if dtype == CODED:
        return is_coded(tensors, name, shape)
    values = tensors.get(name)
    if values is None or tuple(values.shape) != tuple(shape):
        return False
    if dtype != "int8":
        return values.dtype == DTYPES[dtype]
    shapes = [(count, values.shape[1]) for count in (1, len(values))]
    parts = [tensors.get(f"{name}{end}") for end in (SCALE, OFFSET)]
    right = all(part is not None and part.dtype == torch.float32 and tuple(part.shape) in shapes for part in parts)
    return right and values.dtype == torch.int8 and len({part.shape for part in parts if part is not None}) == 1


def largest(dtype: str) -> float:
    """The largest value that a dtype holds."""
    return float(torch.finfo(DTYPES.get(dtype, torch.float32)).max)

"""Coded latents: integer multiples of a step for each channel, entropy-coded in blocks of a few items.

A tensor `name` (n, z, *latent) is stored as

    name_shape          (2 + axes) int64: n, z, *latent
    name_step           (z) fp32
    name_words          (bytes) uint8: the words of all blocks, little-endian
    name_blocks         (blocks, 2) int64: words up to the end of each block, and the CRC-32 of steps and integers
    name_weights        (z, passes, 1 + k) int32
    name_activities     (z, passes) int32
    name_levels         (z, passes, 8) uint8

The last three are the parameters of `codec.map_prior`. The value is the integer times the step, in fp32.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaekit.codec.map_coding import CodedBlock, check_prior, decode_block, encode_block
from vaekit.codec.map_fitting import fitted
from vaekit.codec.map_prior import LARGEST, MapPrior
from vaekit.codec.position_passes import halvings_for
from vaekit.errors import BadArchive

SHAPE, STEP, WORDS, BLOCKS = "_shape", "_step", "_words", "_blocks"
WEIGHTS, ACTIVITIES, LEVELS = "_weights", "_activities", "_levels"
BLOCK_VALUES = 2048
"""A block has as many items as have this number of values, at least one: one item can be read without the others."""
DTYPES = {
    SHAPE: torch.int64,
    STEP: torch.float32,
    WORDS: torch.uint8,
    BLOCKS: torch.int64,
    WEIGHTS: torch.int32,
    ACTIVITIES: torch.int32,
    LEVELS: torch.uint8,
}


def stored_coded(name: str, values: Tensor, steps: Sequence[float]) -> dict[str, Tensor]:
    """The tensors of a file for latents (n, z, *latent) in fp32.

    Args:
        name: of the tensor.
        values: finite values, at most 32,767 steps from 0.
        steps: of each channel.
    """
    step = torch.tensor(steps, dtype=torch.float32)
    shape = tuple(values.shape)
    integers = integers_of(values, step).reshape(shape[0], shape[1], -1).numpy()
    sides, at_once = sides_of(shape), block_items(shape)
    prior = fitted(integers, sides, halvings_for(shape[0], sides))
    parts = [integers[start : start + at_once] for start in range(0, shape[0], at_once)]
    blocks = [encode_block(prior, part, sides, checksum_of_step(step)) for part in parts]
    ends = np.cumsum([len(block.words) for block in blocks])
    words = np.concatenate([block.words for block in blocks]).astype("<u4").view(np.uint8)
    return {
        f"{name}{SHAPE}": torch.tensor(shape),
        f"{name}{STEP}": step,
        f"{name}{WORDS}": torch.from_numpy(words),
        f"{name}{BLOCKS}": torch.from_numpy(np.stack([ends, [block.checksum for block in blocks]], 1).astype(np.int64)),
        f"{name}{WEIGHTS}": torch.from_numpy(prior.weights),
        f"{name}{ACTIVITIES}": torch.from_numpy(prior.activities),
        f"{name}{LEVELS}": torch.from_numpy(prior.levels),
    }


def integers_of(values: Tensor, step: Tensor) -> Tensor:
    """The nearest multiples (n, z, *latent) of the step (z,) of each channel, at most 32,767."""
    per_channel = step.double().reshape(-1, *[1] * (values.dim() - 2))
    return (values.double() / per_channel).round().clamp(-LARGEST, LARGEST).long()


def checksum_of_step(step: Tensor) -> int:
    """CRC-32 of steps in fp32."""
    return zlib.crc32(step.numpy().astype("<f4").tobytes())


def largest_coded(steps: Sequence[float]) -> Tensor:
    """The largest values (z,) that can be coded."""
    return torch.tensor(steps, dtype=torch.float64) * LARGEST


def sides_of(shape: Sequence[int]) -> tuple[int, ...]:
    """The axes of latents (n, z, *latent) that have more than one position."""
    return tuple(side for side in shape[2:] if side > 1)


def block_items(shape: Sequence[int]) -> int:
    """The number of items of a block."""
    return max(1, BLOCK_VALUES // max(1, math.prod(shape[1:])))


@dataclass(frozen=True, eq=False)
class CodedTensor:
    """The parts of a stored tensor."""

    shape: tuple[int, ...]
    step: Tensor
    words: NDArray[np.uint8]
    blocks: NDArray[np.int64]
    prior: MapPrior

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], name: str) -> "CodedTensor":
        """Of the tensors of a file that `is_coded` has checked."""
        part = {end: tensors[f"{name}{end}"] for end in DTYPES}
        return cls(
            tuple(part[SHAPE].tolist()),
            part[STEP],
            part[WORDS].numpy(),
            part[BLOCKS].numpy(),
            MapPrior(part[WEIGHTS].numpy(), part[ACTIVITIES].numpy(), part[LEVELS].numpy()),
        )

    def block(self, number: int) -> Tensor:
        """The values of the items of a block, (b, z, *latent).

        Raises:
            BadArchive: its words are damaged.
        """
        at_once, (count, channels, *latent) = block_items(self.shape), self.shape
        items = min(at_once, count - number * at_once)
        start = int(self.blocks[number - 1, 0]) if number else 0
        end, checksum = self.blocks[number].tolist()
        words = self.words[4 * start : 4 * end].view("<u4").astype(np.uint32)
        sides = sides_of(self.shape)
        integers = decode_block(
            self.prior,
            CodedBlock(words, checksum),
            (items, channels, math.prod(latent)),
            sides,
            checksum_of_step(self.step),
        )
        values = torch.from_numpy(integers).float() * self.step[:, None]
        return values.reshape(items, channels, *latent)


def restored_coded(tensors: Mapping[str, Tensor], name: str, rows: Tensor) -> Tensor:
    """The latents of some items in fp32, (b, z, *latent).

    Args:
        tensors: of a shard.
        name: of the tensor.
        rows: indices of the items, (b,).

    Raises:
        BadArchive: what is stored is damaged.
    """
    coded = CodedTensor.of(tensors, name)
    at_once = block_items(coded.shape)
    result = torch.empty(len(rows), *coded.shape[1:])
    numbers = rows // at_once
    for number in numbers.unique().tolist():
        wanted = (numbers == number).nonzero().flatten()
        result[wanted] = coded.block(number)[rows[wanted] - number * at_once]
    return result


def is_coded(tensors: Mapping[str, Tensor], name: str, shape: Sequence[int]) -> bool:
    """Whether a file holds a tensor (n, z, *latent) in this form. Its words are not decoded."""
    part = {end: tensors.get(f"{name}{end}") for end in DTYPES}
    if any(tensor is None or tensor.dtype != DTYPES[end] for end, tensor in part.items()):
        return False
    found = {end: tensor for end, tensor in part.items() if tensor is not None}
    blocks, step = found[BLOCKS], found[STEP]
    count = -(-shape[0] // block_items(shape))
    if found[SHAPE].tolist() != list(shape) or tuple(step.shape) != (shape[1],) or tuple(blocks.shape) != (count, 2):
        return False
    ends = blocks[:, 0]
    in_order = bool((ends.diff() >= 0).all()) and int(ends[0]) >= 0 and 4 * int(ends[-1]) == found[WORDS].numel()
    sums = bool(((blocks[:, 1] >= 0) & (blocks[:, 1] < 2**32)).all())
    right = bool((step.isfinite() & (step > 0)).all()) and found[WORDS].dim() == 1
    if not (in_order and sums and right):
        return False
    try:
        check_prior(CodedTensor.of(tensors, name).prior, shape[1], sides_of(shape))
    except (BadArchive, IndexError):
        return False
    return True

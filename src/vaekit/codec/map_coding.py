"""Integers at the positions of latents as words of a range coder, and back, in blocks of a few items."""

import math
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaekit.codec.hyper_coding import by_level, constriction, read_level, write_level
from vaekit.codec.map_prior import LARGEST, LARGEST_CONSTANT, LARGEST_WEIGHT, Integers, MapPrior, walk, wrapped
from vaekit.codec.position_passes import MOST_HALVINGS, Pass, most_neighbors, pass_count, passes_of
from vaekit.errors import BadArchive
from vaekit.nets.hyperprior import LEVELS

WORD_VALUES = 2**19
"""The most values for each word: the most probable symbol takes more than 2^-14 bits."""


@dataclass(frozen=True, eq=False)
class CodedBlock:
    """What is stored of the integers of some items."""

    words: NDArray[np.uint32]
    """Of the range coder."""
    checksum: int
    """CRC-32 of what they are to be multiplied with, and of the integers, 32 bits each."""


def encode_block(prior: MapPrior, values: Integers, sides: tuple[int, ...], before: int = 0) -> CodedBlock:
    """Code integers (b, z, positions) from -32767 to 32767.

    Args:
        prior: their distribution.
        values: the integers.
        sides: positions along each axis that has more than one.
        before: a CRC-32 of other facts, which the checksum continues.
    """
    coder = constriction().stream.queue.RangeEncoder()

    def write(each: Pass, prediction: Integers, levels: Integers) -> Integers:
        residuals = wrapped(values[:, :, each.where] - prediction)
        integers = residuals.ravel().astype(np.int32)
        for level, where in by_level(levels.ravel()):
            write_level(coder, level, integers[where])
        return residuals

    assert int(np.abs(values).max(initial=0)) <= LARGEST
    walk(prior, passes_of(sides, halvings_of(prior, sides)), values.shape, write)
    return CodedBlock(coder.get_compressed(), checksum_of(values, before))


def decode_block(
    prior: MapPrior, block: CodedBlock, shape: tuple[int, int, int], sides: tuple[int, ...], before: int = 0
) -> Integers:
    """The integers (b, z, positions); arguments are those of `encode_block`.

    Raises:
        BadArchive: they are not those that were coded, or more than the words can hold.
    """
    if math.prod(shape) > (len(block.words) + 2) * WORD_VALUES:
        raise BadArchive(
            "Coded latents are damaged.", f"They claim {math.prod(shape):,} values.", "Use another copy of them."
        )
    coder = constriction().stream.queue.RangeDecoder(block.words)

    def read(_: Pass, __: Integers, levels: Integers) -> Integers:
        integers = np.empty(levels.size, np.int64)
        for level, where in by_level(levels.ravel()):
            integers[where] = read_level(coder, level, len(where))
        return integers.reshape(levels.shape)

    try:
        values = walk(prior, passes_of(sides, halvings_of(prior, sides)), shape, read)
    except AssertionError:  # constriction's, for words that no encoder writes
        values = None
    if values is None or checksum_of(values, before) != block.checksum:
        raise BadArchive(
            "Coded latents are damaged.", "The decoded integers do not have their checksum.", "Use another copy."
        )
    return values


def checksum_of(values: Integers, before: int) -> int:
    """CRC-32 of integers, continuing another one."""
    return zlib.crc32(values.astype("<i4").tobytes(), before)


def halvings_of(prior: MapPrior, sides: tuple[int, ...]) -> int:
    """The number of strides that parameters are for.

    Raises:
        BadArchive: they are for none.
    """
    for halvings in range(MOST_HALVINGS + 1):
        fits = not halvings or (len(sides) and 2 ** (halvings - 1) < min(sides))
        if fits and prior.weights.shape[1] == pass_count(len(sides), halvings):
            return halvings
    passes = prior.weights.shape[1]
    raise BadArchive("Parameters of coded latents are damaged.", f"They are for {passes} passes.", "Use another copy.")


def check_prior(prior: MapPrior, channels: int, sides: tuple[int, ...]) -> None:
    """Check parameters that were read from a file.

    Raises:
        BadArchive: they have other shapes, or values that no encoder writes.
    """
    passes = pass_count(len(sides), halvings := halvings_of(prior, sides))
    right = (
        prior.weights.shape == (channels, passes, 1 + most_neighbors(len(sides), halvings))
        and prior.activities.shape == (channels, passes)
        and prior.levels.shape[:2] == (channels, passes)
        and bool((np.abs(prior.weights[..., 1:].astype(np.int64)) <= LARGEST_WEIGHT).all())
        and bool((np.abs(prior.weights[..., 0].astype(np.int64)) <= LARGEST_CONSTANT).all())
        and bool((prior.activities >= 1).all())
        and bool((prior.levels < LEVELS).all())
    )
    if not right:
        raise BadArchive("Parameters of coded latents are damaged.", "They are out of range.", "Use another copy.")

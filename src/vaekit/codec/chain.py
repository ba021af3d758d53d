"""Chains: consecutive items that are coded together, as bytes."""

import struct
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vaekit.codec.archive import MOST, packed, unpacked
from vaekit.codec.bit_stack import BitStack
from vaekit.codec.bits_back import Coding, pop_items, push_items
from vaekit.codec.corrections import correction_bytes, corrections_from
from vaekit.codec.rounding import Recording, Replaying

HEADER = struct.Struct("<BII")
"""The way of coding, the number of items, and the CRC-32 of their cells."""
BITS_BACK_HEADER = struct.Struct("<III")
"""Items of a batch, initial bits, and bytes of corrections."""
MOST_ITEMS = 2**20
"""Of a chain."""
PLAIN, BITS_BACK = range(2)
"""Ways of coding. Few items may be smaller without the VAE."""


@dataclass(frozen=True)
class Chain:
    """Items as bytes."""

    content: bytes
    initial_bits: float
    """Of the first latents on the stack, see `push_items`; 0 without bits-back coding."""


def chain_of(coding: Coding, x: Tensor, batch: int) -> Chain:
    """Items (b, ...) by bits-back coding or by LZMA, whichever is smaller.

    Args:
        coding: the distributions.
        x: the items.
        batch: items that the VAE decodes at once. The bits of the latents of one batch are lost.
    """
    coded, cells = bits_back_chain(coding, x, batch), coding.plain(x)
    plain = HEADER.pack(PLAIN, len(x), zlib.crc32(cells)) + packed(cells)
    return Chain(plain, 0.0) if len(plain) < len(coded.content) else coded


def bits_back_chain(coding: Coding, x: Tensor, batch: int) -> Chain:
    """The same by bits-back coding."""
    rounding, stack = Recording(), BitStack(np.zeros(0, dtype=np.uint32))
    batch = min(batch, len(x))
    initial = push_items(stack, coding, coding.canonical(x).split(batch), rounding)
    corrections = correction_bytes(rounding.corrections)
    header = HEADER.pack(BITS_BACK, len(x), zlib.crc32(coding.plain(x)))
    header += BITS_BACK_HEADER.pack(batch, round(initial), len(corrections))
    return Chain(header + corrections + stack.words.astype("<u4").tobytes(), initial)


def chain_items(coding: Coding, content: bytes, items: int) -> Tensor:
    """The inverse: items (b, ...).

    Args:
        coding: the distributions.
        content: the bytes.
        items: their number, which is known from their names. It bounds how long damaged bytes are decoded.

    Raises:
        ValueError: the bytes are no such chain, or make other items than they were made from.
    """
    try:
        way, claimed, checksum = HEADER.unpack_from(content)
        if claimed != items or not 0 < items <= MOST_ITEMS:
            raise ValueError("a chain has other items than there are names, or too many")
        if way == PLAIN:
            x = coding.from_plain(unpacked(content[HEADER.size :], MOST), items)
        elif way == BITS_BACK:
            x = _popped(coding, items, content[HEADER.size :])
        else:
            raise ValueError("a chain is coded in an unknown way")
    except struct.error as error:
        raise ValueError("a chain is truncated") from error
    if len(x) != items or zlib.crc32(coding.plain(x)) != checksum:
        raise ValueError("the items are not those that were compressed")
    return x


def _popped(coding: Coding, items: int, content: bytes) -> Tensor:
    batch, _, corrections = BITS_BACK_HEADER.unpack_from(content)
    start = BITS_BACK_HEADER.size + corrections
    if not 0 < batch <= items or start > len(content) or (len(content) - start) % 4:
        raise ValueError("a chain is not as expected")
    sizes = [min(batch, items - done) for done in range(0, items, batch)]
    stack = BitStack(np.frombuffer(content[start:], dtype="<u4").astype(np.uint32))
    rounding = Replaying(corrections_from(content[BITS_BACK_HEADER.size : start]))
    x = torch.cat(list(pop_items(stack, coding, sizes, rounding)))
    if stack.bits:
        raise ValueError("there is more in a chain than its items")
    return x

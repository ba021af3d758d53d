"""Chains: consecutive items that are coded together, as bytes."""

import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaekit.codec.archive import MOST, packed, unpacked
from vaekit.codec.bit_stack import BitStack
from vaekit.codec.bits_back import Coding, pop_items, push_items
from vaekit.codec.corrections import correction_bytes, corrections_from
from vaekit.codec.rounding import Recording, Replaying

LENGTH = struct.Struct("<I")
MOST_ITEMS = 2**20
"""Of a chain."""
BITS_BACK, PLAIN = "bits-back", "lzma"
"""How a chain is coded. Few items may be smaller without the VAE."""


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
    canonical, cells = coding.canonical(x), coding.plain(x)
    rounding, stack = Recording(), BitStack(np.zeros(0, dtype=np.uint32))
    initial = push_items(stack, coding, canonical.split(batch), rounding)
    content, corrections = stack.words.astype("<u4").tobytes(), correction_bytes(rounding.corrections)
    plain = packed(cells)
    facts: dict[str, Any] = {"items": len(x), "crc": zlib.crc32(cells)}
    if len(plain) < len(content) + len(corrections):
        return Chain(_packed({**facts, "kind": PLAIN}, plain), 0.0)
    facts |= {"kind": BITS_BACK, "batch": batch, "initial": round(initial), "corrections": len(corrections)}
    return Chain(_packed(facts, corrections + content), initial)


def chain_items(coding: Coding, content: bytes) -> Tensor:
    """The inverse: items (b, ...).

    Raises:
        ValueError: the bytes are no such chain, or make other items than they were made from.
    """
    facts, rest = _unpacked(content)
    try:
        items, kind, checksum = int(facts["items"]), facts["kind"], int(facts["crc"])
        if not 0 < items <= MOST_ITEMS:
            raise ValueError("a chain has no items, or too many")
        if kind == PLAIN:
            x = coding.from_plain(unpacked(rest, MOST), items)
        elif kind != BITS_BACK:
            raise ValueError("a chain is coded in an unknown way")
        else:
            batch, corrections = int(facts["batch"]), int(facts["corrections"])
            x = _popped(coding, items, batch, rest[:corrections], rest[corrections:])
    except (KeyError, TypeError) as error:
        raise ValueError(f"a chain is not as expected ({type(error).__name__})") from error
    if len(x) != items or zlib.crc32(coding.plain(x)) != checksum:
        raise ValueError("the items are not those that were compressed")
    return x


def _popped(coding: Coding, items: int, batch: int, corrections: bytes, words: bytes) -> Tensor:
    if not 0 < batch <= items or len(words) % 4:
        raise ValueError("a chain is not as expected")
    sizes = [min(batch, items - start) for start in range(0, items, batch)]
    stack = BitStack(np.frombuffer(words, dtype="<u4").astype(np.uint32))
    x = torch.cat(list(pop_items(stack, coding, sizes, Replaying(corrections_from(corrections)))))
    if stack.bits:
        raise ValueError("there is more in a chain than its items")
    return x


def _packed(facts: dict[str, Any], content: bytes) -> bytes:
    head = json.dumps(facts, separators=(",", ":")).encode()
    return LENGTH.pack(len(head)) + head + content


def _unpacked(content: bytes) -> tuple[dict[str, Any], bytes]:
    if len(content) < LENGTH.size:
        raise ValueError("a chain is truncated")
    (length,) = LENGTH.unpack_from(content)
    start = LENGTH.size + length
    facts = json.loads(content[LENGTH.size : start])
    if not isinstance(facts, dict):
        raise ValueError("a chain is not as expected")
    return facts, content[start:]

"""Randomness that follows from where training is, not from how it got there: a run that goes on needs no state of it.

Every draw is made by a generator seeded with the run's seed, what it is for, and the number of samples seen.
"""

import hashlib
import struct

import torch
from torch import Generator


def derive_seed(seed: int, purpose: str, position: int) -> int:
    """A seed of 63 bits for one purpose at one place. The purpose may be the name of a file, which need not be UTF-8.

    >>> derive_seed(0, "noise", 128) == derive_seed(0, "noise", 128) != derive_seed(0, "noise", 129)
    True
    """
    words = f"{seed}\n{purpose}\n{position}".encode("utf-8", "surrogateescape")
    told = hashlib.blake2b(words, digest_size=8).digest()
    return int(struct.unpack("<Q", told)[0] >> 1)


def generator_for(seed: int, purpose: str, position: int) -> Generator:
    """A generator on the CPU, seeded so: one seed gives the same draws on every device."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, position))

"""Seeds of the random numbers of training, derived from the seed of the run, a purpose and the number of samples.

They depend on the position in the run only, so that a checkpoint needs no state of generators.
"""

import hashlib
import struct

import torch
from torch import Generator


def derive_seed(seed: int, purpose: str, position: int) -> int:
    """A seed of 63 bits for a purpose at a position. The purpose may be a file name, which need not be valid UTF-8.

    >>> derive_seed(0, "noise", 128) == derive_seed(0, "noise", 128) != derive_seed(0, "noise", 129)
    True
    """
    content = f"{seed}\n{purpose}\n{position}".encode("utf-8", "surrogateescape")
    digest = hashlib.blake2b(content, digest_size=8).digest()
    return int(struct.unpack("<Q", digest)[0] >> 1)


def generator_for(seed: int, purpose: str, position: int) -> Generator:
    """A generator on the CPU with the derived seed: the same random numbers on every device."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, position))

"""Identify weights independently of their file: exact fingerprints, and sketches that survive rounding.

A *fingerprint* is a SHA-256 over native keys, shapes and values as 32-bit floats. It survives a change of prefix,
layout, file format and order, and a lossless upcast. Rounding to half precision changes it.

A *sketch* is a short vector whose distances are those of the weights: the count sketch of Charikar, Chen and
Farach-Colton (2002): every weight is added with a fixed random sign to one of `BUCKETS` sums, divided by their norm.

    |sketch(a) - sketch(b)|  ~  |a - b| / |a|        with a relative error of about 1 / sqrt(2 * BUCKETS)

Rounding to bfloat16 moves weights by about 0.17 %, to float16 by 0.02 %; a fine-tune moves them by more.
"""

import hashlib
import math
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor
from torch.nn import functional as F

from vaekit.catalog.identity import Identity
from vaekit.families import HALVES
from vaekit.formats.tensor_file import dtype_name
from vaekit.vae import VAE

BUCKETS = 64


SIGNS = 1 << 18
"""The period of the random signs; a multiple of `BUCKETS`."""


PART = 1 << 18
"""The number of values processed at a time."""


UNIT = 1 << 14
"""Sketches are stored as integers in units of 1/UNIT of the norm of the weights."""


ROUNDING = {torch.float16: 0.0005, torch.bfloat16: 0.003}
"""Upper bounds of the rounding error relative to the norm of the weights. Tests measure it."""


def fingerprint(vae: VAE) -> str:
    """64 hexadecimal digits (SHA-256) for the weights of a VAE in its own dtype."""
    hashed = hashlib.sha256()
    for tensor in tensors_of(vae):
        for content in bytes_of(tensor):
            hashed.update(content)
    return hashed.hexdigest()


@dataclass(frozen=True)
class TensorValues:
    """One tensor of a VAE, read in parts."""

    key: str
    """The native key."""
    shape: tuple[int, ...]
    parts: Callable[[], Iterable[Tensor]]
    """Its values in order, as one-dimensional parts."""


def tensors_of(vae: VAE) -> list[TensorValues]:
    """The tensors of a VAE in memory, sorted by key."""
    tensors = sorted(vae.state_dict().items())
    return [TensorValues(key, tuple(tensor.shape), partial(in_parts, tensor)) for key, tensor in tensors]


def in_parts(tensor: Tensor) -> Iterable[Tensor]:
    return tensor.detach().cpu().flatten().split(PART) if tensor.numel() else ()


def bytes_of(tensor: TensorValues) -> Iterator[bytes | memoryview]:
    """The byte sequence that is hashed for a tensor."""
    yield f"{tensor.key}{list(tensor.shape)}".encode()
    for part in tensor.parts():
        yield part.float().contiguous().numpy().data


def identity_of(tensors: Iterable[TensorValues]) -> Identity:
    """Compute fingerprints and sketches of weights in one pass, in bounded memory.

    Args:
        tensors: all of a VAE's, sorted by native key.
    """
    whole = hashlib.sha256()
    halves: dict[str, HalfHash] = {}
    precise = set(ROUNDING)
    for tensor in tensors:
        half = tensor.key.split(".")[0]
        name = f"{tensor.key}{list(tensor.shape)}".encode()
        part_hash = halves.setdefault(half, HalfHash()) if half in HALVES else HalfHash()
        part_hash.start(tensor.key)
        for hashed in (whole, part_hash.hashed):
            hashed.update(name)
        for part in (few for many in tensor.parts() for few in many.split(PART)):
            values = part.float().contiguous()
            for hashed in (whole, part_hash.hashed):
                hashed.update(values.numpy().data)
            part_hash.add(values)
            precise = {dtype for dtype in precise if holds(dtype, part)}
    return Identity(
        whole.hexdigest(),
        {half: halves[half].hashed.hexdigest() for half in HALVES if half in halves},
        {half: as_text(halves[half].sketch()) for half in HALVES if half in halves},
        tuple(dtype_name(dtype) for dtype in ROUNDING if dtype in precise),
    )


def holds(dtype: torch.dtype, part: Tensor) -> bool:
    """Whether a dtype represents every value exactly; integers are counters rather than weights."""
    if part.dtype == dtype or not part.is_floating_point():
        return True
    values = part.float() if part.dtype.itemsize == 1 else part  # torch does not compare 8-bit floats
    return torch.equal(values.to(dtype).to(values.dtype), values)


class HalfHash:
    """Accumulates the hash and the sketch of one half."""

    def __init__(self) -> None:
        self.hashed = hashlib.sha256()
        self.sums = torch.zeros(BUCKETS, dtype=torch.float64)
        self.square = 0.0
        self.first, self.at = 0, 0

    def start(self, key: str) -> None:
        """Begin a tensor: each has its own offset in the sequence of signs."""
        self.first, self.at = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % SIGNS, 0

    def add(self, values: Tensor) -> None:
        """Add the next values of the tensor, each with its sign, to the buckets of their positions."""
        values = values.nan_to_num(0.0, 0.0, 0.0)
        self.square += values.norm().item() ** 2
        while len(values):
            place, before = (self.first + self.at) % SIGNS, self.at % BUCKETS
            here = values[: SIGNS - place]
            signed = (here * signs()[place : place + len(here)]).double()
            rows = F.pad(signed, (before, -(before + len(here)) % BUCKETS)).view(-1, BUCKETS)
            self.sums += rows.sum(dim=0)
            values, self.at = values[len(here) :], self.at + len(here)

    def sketch(self) -> list[int]:
        """The sums in units of the norm of all values."""
        size = math.sqrt(self.square) or 1.0
        return (self.sums / size * UNIT).round().clamp(-(1 << 15), (1 << 15) - 1).int().tolist()


@cache
def signs() -> Tensor:
    """Fixed random signs, from the bits of SHA-256 rather than a library's random generator."""
    blocks = b"".join(hashlib.sha256(b"vaekit sketch %d" % i).digest() for i in range(SIGNS // 256))
    octets = torch.frombuffer(bytearray(blocks), dtype=torch.uint8)
    bits = octets[:, None].bitwise_right_shift(torch.arange(8, dtype=torch.uint8)).bitwise_and(1)
    return bits.flatten().float() * 2 - 1


def as_text(numbers: Sequence[int]) -> str:
    return struct.pack(f">{len(numbers)}h", *numbers).hex()


def from_text(text: str) -> Tensor:
    return torch.tensor(struct.unpack(f">{len(text) // 4}h", bytes.fromhex(text)), dtype=torch.float64)


def distance(one: str, other: str) -> float:
    """The distance of two sketches: an estimate of |a - b| / |a| for the weights a and b."""
    return float((from_text(one) - from_text(other)).norm()) / UNIT

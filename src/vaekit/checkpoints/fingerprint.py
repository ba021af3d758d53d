"""Who these weights are, whatever file they are in: fingerprints that are exact, and sketches that survive rounding.

A *fingerprint* is a SHA-256 over native keys, shapes and values as 32-bit floats. It survives a change of prefix,
layout, file format and order, and a lossless upcast. Rounding to half precision changes it.

A *sketch* is a short vector whose distances are those of the weights: the count sketch of Charikar, Chen and
Farach-Colton (2002), every weight added with a fixed random sign to one of `BUCKETS` sums, divided by the norm of all.

    |sketch(a) - sketch(b)|  ~  |a - b| / |a|        within about 1 / sqrt(2 * BUCKETS) of itself

Rounding to bfloat16 moves weights by about 0.17 %, to float16 by 0.02 %; a fine-tune moves them by more.
"""

import hashlib
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor

from vaekit.checkpoints.families import HALVES
from vaekit.vae import VAE

BUCKETS = 64
SIGNS = 1 << 18
"""How many random signs there are before they repeat; a multiple of `BUCKETS`."""
UNIT = 1 << 14
"""A sketch is kept in whole numbers: 1 stands for 1/UNIT of the norm of the weights."""
ROUNDING = {torch.float16: 0.0005, torch.bfloat16: 0.003}
"""How far rounding moves weights at most, relative to their norm. Tests measure it."""


@dataclass(frozen=True)
class Weights:
    """What weights are known by. Halves that are absent are not listed."""

    fingerprint: str
    """Of all tensors: 64 hexadecimal digits."""
    halves: Mapping[str, str] = field(default_factory=dict)
    """The fingerprint of the encoder's tensors alone, and the decoder's: that of a file with this half only."""
    sketches: Mapping[str, str] = field(default_factory=dict)
    """The sketch of each half: 4 hexadecimal digits for each bucket."""
    rounded_to: tuple[str, ...] = ()
    """Formats of half precision that hold every value exactly: "float16", "bfloat16"."""


def fingerprint(vae: VAE) -> str:
    """64 hexadecimal digits (SHA-256) for the weights of a VAE in its own dtype."""
    return digest(sorted(vae.state_dict().items()))


def digest(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """The SHA-256 over names, shapes and values of tensors in this order."""
    hashed = hashlib.sha256()
    for key, tensor in tensors:
        hashed.update(f"{key}{list(tensor.shape)}".encode())
        hashed.update(plain(tensor).numpy().data)
    return hashed.hexdigest()


def plain(tensor: Tensor) -> Tensor:
    """The values as 32-bit floats on the CPU."""
    return tensor.detach().to(device="cpu", dtype=torch.float32).contiguous()


def weights_of(vae: VAE) -> Weights:
    """All that the weights of a VAE are known by; reads each of them a few times."""
    tensors = sorted(vae.state_dict().items())
    parts = {half: [(key, tensor) for key, tensor in tensors if key.startswith(half + ".")] for half in HALVES}
    there = {half: part for half, part in parts.items() if part}
    return Weights(
        digest(tensors),
        {half: digest(part) for half, part in there.items()},
        {half: as_text(sketch(part)) for half, part in there.items()},
        tuple(name(dtype) for dtype in ROUNDING if all(holds(dtype, tensor) for _, tensor in tensors)),
    )


def as_json(weights: Weights) -> dict[str, Any]:
    """A value that JSON can hold."""
    return {
        "fingerprint": weights.fingerprint,
        "halves": dict(weights.halves),
        "sketches": dict(weights.sketches),
        "rounded_to": list(weights.rounded_to),
    }


def from_json(told: Mapping[str, Any]) -> Weights:
    """The inverse of `as_json`; what is not told is empty."""
    return Weights(
        told["fingerprint"], told.get("halves", {}), told.get("sketches", {}), tuple(told.get("rounded_to", ()))
    )


def name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def holds(dtype: torch.dtype, tensor: Tensor) -> bool:
    """Whether a format holds every value of a tensor exactly."""
    if tensor.dtype == dtype:
        return True
    return all(torch.equal(part.to(dtype).to(part.dtype), part) for part in tensor.detach().flatten().split(1 << 16))


def sketch(tensors: Iterable[tuple[str, Tensor]]) -> list[int]:
    """The sketch of named tensors: `BUCKETS` whole numbers."""
    sums = torch.zeros(BUCKETS, dtype=torch.float64)
    square = 0.0
    for key, tensor in tensors:
        values = plain(tensor).flatten().nan_to_num(0.0, 0.0, 0.0)
        square += values.norm().item() ** 2
        start = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % SIGNS
        sums += bucket_sums(values, start)
    size = math.sqrt(square) or 1.0
    return (sums / size * UNIT).round().clamp(-(1 << 15), (1 << 15) - 1).int().tolist()


def bucket_sums(values: Tensor, start: int) -> Tensor:
    """Each value with its sign, added to the bucket of its position; signs are counted from `start`."""
    row = signs().roll(-start)
    total = torch.zeros(SIGNS, dtype=torch.float64)
    for part in values.split(SIGNS):
        total[: len(part)] += part * row[: len(part)]
    return total.view(-1, BUCKETS).sum(dim=0)


@cache
def signs() -> Tensor:
    """Fixed random signs, from the bits of SHA-256, so that no library's generator has a say in them."""
    blocks = b"".join(hashlib.sha256(b"vaekit sketch %d" % i).digest() for i in range(SIGNS // 256))
    octets = torch.frombuffer(bytearray(blocks), dtype=torch.uint8)
    bits = octets[:, None].bitwise_right_shift(torch.arange(8, dtype=torch.uint8)).bitwise_and(1)
    return bits.flatten().float() * 2 - 1


def as_text(numbers: Sequence[int]) -> str:
    return struct.pack(f">{len(numbers)}h", *numbers).hex()


def from_text(text: str) -> Tensor:
    return torch.tensor(struct.unpack(f">{len(text) // 4}h", bytes.fromhex(text)), dtype=torch.float64)


def distance(one: str, other: str) -> float:
    """How far apart two sketches are: an estimate of |a - b| / |a| for the weights a and b."""
    return float((from_text(one) - from_text(other)).norm()) / UNIT

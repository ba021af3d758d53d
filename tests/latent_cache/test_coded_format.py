"""A slow decoder, written from docs/format.md, reads coded latents."""

import itertools
import math
import zlib
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vaekit.codec.scale_tables import table
from vaekit.latent_cache.coded_storage import restored_coded, stored_coded

constriction = pytest.importorskip("constriction")
Place = tuple[int, ...]


def passes(sides: Place, halvings: int) -> list[tuple[list[Place], list[list[Place]]]]:
    """The positions of each pass, and the neighbors of each."""
    everywhere = list(itertools.product(*map(range, sides)))
    found: list[tuple[list[Place], list[list[Place]]]] = []
    first = [place for place in everywhere if all(x % 2**halvings == 0 for x in place)]
    found.append((first, [[] for _ in first]))
    for h in reversed(range(halvings)):
        s = 2**h
        for count in range(len(sides), 0, -1):
            for axes in itertools.combinations(range(len(sides)), count):
                rest = [(s if axis in axes else 0) for axis in range(len(sides))]
                inside = [
                    place for place in everywhere if all(x % (2 * s) == r for x, r in zip(place, rest, strict=True))
                ]
                found.append((inside, [neighbors(place, sides, s, axes) for place in inside]))
    return found


def neighbors(place: Place, sides: Place, s: int, axes: Place) -> list[Place]:
    """The corners, then those along each other axis."""
    result = []
    for signs in itertools.product((-1, 1), repeat=len(axes)):
        moved = list(place)
        for axis, sign in zip(axes, signs, strict=True):
            moved[axis] = inside_of(place[axis], sign * s, sides[axis])
        result.append(tuple(moved))
    for axis in range(len(sides)):
        if axis not in axes:
            for sign in (-1, 1):
                other = inside_of(place[axis], sign * s, sides[axis])
                result.append((*place[:axis], other, *place[axis + 1 :]))
    return result


def inside_of(x: int, by: int, side: int) -> int:
    return x + by if 0 <= x + by < side else x - by


def decoded(tensors: dict[str, torch.Tensor]) -> NDArray[np.float32]:
    """The values of a tensor `x`."""
    part = {name.removeprefix("x_"): tensor.numpy() for name, tensor in tensors.items()}
    n, z, *latent = part["shape"].tolist()
    sides = tuple(side for side in latent if side > 1)
    count = part["weights"].shape[1]
    halvings = next(h for h in range(3) if 1 + h * (2 ** len(sides) - 1) == count)
    at_once, values, start = max(1, 2048 // (z * math.prod(latent))), [], 0
    for number, (end, checksum) in enumerate(part["blocks"].tolist()):
        items = min(at_once, n - number * at_once)
        words = part["words"][4 * start : 4 * end].copy().view("<u4")
        block = decoded_block(constriction.stream.queue.RangeDecoder(words), part, (items, z, sides), halvings)
        assert zlib.crc32(block.astype("<i4").tobytes(), zlib.crc32(part["step"].tobytes())) == checksum
        values.append(block)
        start = end
    step = part["step"][None, :, None]
    return (np.concatenate(values).astype(np.float32) * step).reshape(n, z, *latent)


def decoded_block(
    coder: Any, part: dict[str, NDArray[Any]], shape: tuple[int, int, Place], halvings: int
) -> NDArray[np.int64]:
    """The integers (b, z, positions) of a block."""
    items, z, sides = shape
    known: dict[tuple[int, int, Place], int] = {}
    sizes: dict[tuple[int, int, Place], int] = {}
    for number, (places, around) in enumerate(passes(sides, halvings)):
        levels: dict[tuple[int, int, Place], int] = {}
        predictions: dict[tuple[int, int, Place], int] = {}
        for item, (place, near) in itertools.product(range(items), zip(places, around, strict=True)):
            sums = [sum(sizes[item, c, each] for each in near) for c in range(z)]
            for c in range(z):
                n = [known[item, c, each] for each in near]
                w = part["weights"][c, number].tolist()
                p = (w[0] + sum(a * b for a, b in zip(w[1:], n)) + 2**11) // 2**12  # noqa: B905
                activity = sums[c] + 2 * (max(n) - min(n)) + sum(sums) // z if n else 0
                mean = int(part["activities"][c, number])
                where = sum(16 * activity >= b * mean for b in (6, 10, 13, 16, 20, 26, 36))
                predictions[item, c, place] = min(32767, max(-32767, p))
                levels[item, c, place] = int(part["levels"][c, number, where])
        for level in sorted(set(levels.values())):
            those = sorted(key for key, each in levels.items() if each == level)
            parts = table(level)
            r = (len(parts) - 2) // 2
            model = constriction.stream.model.Categorical((parts - 1).astype(np.float64), perfect=False)
            residuals = {key: int(coder.decode(model)) - r for key in those}
            for key in those:
                if residuals[key] == r + 1:
                    residuals[key] = int(coder.decode(constriction.stream.model.Uniform(2**16))) - 2**15
                known[key] = (predictions[key] + residuals[key] + 2**15) % 2**16 - 2**15
                sizes[key] = abs(residuals[key])
    order = itertools.product(range(items), range(z), itertools.product(*map(range, sides)))
    return np.array([known[key] for key in order], np.int64).reshape(items, z, -1)


@pytest.mark.parametrize("shape", [(12, 2, 20, 18), (1, 3, 1, 2100), (700, 5), (20, 2, 4, 5, 6)])
def test_the_format_is_as_described(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(shape, generator=generator)
    for axis in range(2, len(shape)):
        values = values + values.roll(1, axis)
    values[0, 0].view(-1)[0] = 500.0  # beyond its table
    tensors = stored_coded("x", values, [0.2, 0.4, 0.1, 1.0, 0.05][: shape[1]])
    assert len(shape) == 2 or tensors["x_weights"].shape[1] > 1
    assert np.array_equal(decoded(tensors), restored_coded(tensors, "x", torch.arange(shape[0])).numpy())

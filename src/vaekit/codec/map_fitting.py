"""Fit the distribution of integers at the positions of latents to those that will be coded."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vaekit.codec.map_prior import (
    CLASSES,
    LARGEST_CONSTANT,
    LARGEST_WEIGHT,
    WEIGHT_BITS,
    Integers,
    Known,
    MapPrior,
    activity,
    classes_of,
    predicted,
    wrapped,
)
from vaekit.codec.position_passes import most_neighbors, passes_of
from vaekit.codec.scale_tables import TOTAL_BITS, table
from vaekit.nets.hyperprior import LEVELS, LEVELS_PER_OCTAVE

SAMPLED = 2**17
"""Values of a channel that parameters are fitted to, at most."""
RIDGE = 1e-3
"""Relative to the variance of neighbors: weights stay finite where channels are constant."""
LOWER, HIGHER = 7, 2
"""Levels below and above that of the standard deviation which are tried: distributions have longer tails than normal
ones."""


def fitted(values: Integers, sides: tuple[int, ...], halvings: int) -> MapPrior:
    """The parameters that suit latents (n, z, positions)."""
    sample = values[:: max(1, -(-values.shape[0] * values.shape[2] // SAMPLED))]
    passes, channels = passes_of(sides, halvings), values.shape[1]
    weights = np.zeros((channels, len(passes), 1 + most_neighbors(len(sides), halvings)), np.int32)
    activities = np.ones((channels, len(passes)), np.int32)
    levels = np.zeros((channels, len(passes), CLASSES), np.uint8)
    known = Known.nothing((len(sample), channels, sample.shape[2]))
    for number, each in enumerate(passes):
        near, wanted = known.values[:, :, each.neighbors], sample[:, :, each.where]
        for channel in range(channels):
            found = weights_of(near[:, channel], wanted[:, channel])
            weights[channel, number, : len(found)] = found
        prediction = predicted(near, weights[:, number])
        residuals = wrapped(wanted - prediction)
        around = activity(near, known.residuals[:, :, each.neighbors])
        activities[:, number] = np.clip(around.mean((0, 2)).round(), 1, 2**30)
        classes = classes_of(around, activities[:, number])
        for channel in range(channels):
            levels[channel, number] = levels_of(np.abs(residuals[:, channel]), classes[:, channel])
        known.add(each, prediction, residuals)
    return MapPrior(weights, activities, levels)


def weights_of(near: Integers, wanted: Integers) -> NDArray[np.int32]:
    """Least squares of integers (n, p) by their neighbors (n, k, p), in fixed point: the constant, then k weights. Sums
    are those of integers below 2^53, and therefore exact."""
    x = near.transpose(1, 0, 2).reshape(near.shape[1], wanted.size).astype(np.float64)
    x = np.concatenate([np.ones((1, x.shape[1])), x])
    y = wanted.ravel().astype(np.float64)
    gram = x @ x.T
    penalty = np.diag(gram) * RIDGE + 1.0
    penalty[0] = 0.0
    solution = np.linalg.solve(gram + np.diag(penalty), x @ y) * 2**WEIGHT_BITS
    largest = np.array([LARGEST_CONSTANT, *[LARGEST_WEIGHT] * near.shape[1]], np.float64)
    return np.clip(solution.round(), -largest, largest).astype(np.int32)


def levels_of(sizes: Integers, classes: Integers) -> NDArray[np.uint8]:
    """The level of each class with which magnitudes of residuals (n, p) take the fewest bits; a class without values
    has that of all."""
    levels = np.full(CLASSES, level_of(sizes.ravel()), np.uint8)
    for number in range(CLASSES):
        inside = sizes[classes == number]
        if inside.size:
            levels[number] = level_of(inside)
    return levels


def level_of(sizes: Integers) -> int:
    """The level with which magnitudes (n,) take the fewest bits."""
    deviation = float(np.sqrt(np.square(sizes.astype(np.float64)).mean()))
    nearest = round(LEVELS_PER_OCTAVE * (np.log2(max(deviation, 2.0**-3)) + 3))
    found, counts = np.unique(sizes, return_counts=True)
    candidates = range(max(0, min(nearest, LEVELS - 1) - LOWER), min(nearest + HIGHER, LEVELS - 1) + 1)
    return min(candidates, key=lambda level: float(counts @ bits_of(level)[np.minimum(found, len(bits_of(level)) - 1)]))


@lru_cache(maxsize=LEVELS)
def bits_of(level: int) -> NDArray[np.float64]:
    """The bits of the magnitudes 0 to r, then of larger ones."""
    parts = table(level)
    reach = (len(parts) - 2) // 2
    bits = TOTAL_BITS - np.log2(parts[reach:].astype(np.float64))
    bits[-1] += 16
    return bits

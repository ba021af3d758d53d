"""The distribution of integers at the positions of a latent: predictions from neighbors, and their uncertainty.

All arithmetic is in integers, so that the tables of the entropy coder are the same on every machine. With neighbors n_i
of a position in its channel (`position_passes`), the prediction is

    p = floor((w_0 + sum_i w_i n_i + 2^11) / 2^12)

The residual is y - p. How large it will be is told by the activity around the position,

    a = A + 2 (max_i n_i - min_i n_i) + floor(mean over channels of A),    A = sum_i |residual of n_i|

relative to the mean activity of its channel and pass: it decides on one of eight classes, each with a table of
`scale_tables`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from vaekit.codec.position_passes import Pass

Integers: TypeAlias = NDArray[np.int64]
WEIGHT_BITS = 12
"""Binary digits behind the point of a weight."""
LARGEST_WEIGHT = 2**15
LARGEST_CONSTANT = 2**27
LARGEST = 2**15 - 1
"""Coded integers are from -32767 to 32767."""
BOUNDS = np.array([6, 10, 13, 16, 20, 26, 36], np.int64)
"""Between classes: 16ths of the mean activity."""
CLASSES = len(BOUNDS) + 1


@dataclass(frozen=True, eq=False)
class MapPrior:
    """The parameters of all channels and passes."""

    weights: NDArray[np.int32]
    """(z, passes, 1 + k): w_0, then those of neighbors; zeros beyond the neighbors of a pass."""
    activities: NDArray[np.int32]
    """(z, passes): the mean activity, at least 1."""
    levels: NDArray[np.uint8]
    """(z, passes, 8): the level of each class in `scale_tables`."""

    def expected(self, number: int, known: "Known", each: Pass) -> tuple[Integers, Integers]:
        """Predictions and levels (b, z, p) of a pass, from what is known."""
        near = known.values[:, :, each.neighbors]
        classes = classes_of(activity(near, known.residuals[:, :, each.neighbors]), self.activities[:, number])
        channels = np.arange(len(self.levels))[:, None]
        return predicted(near, self.weights[:, number]), self.levels[channels, number, classes].astype(np.int64)


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of latents (b, z, positions) so far; zeros elsewhere."""

    values: Integers
    residuals: Integers
    """Magnitudes of residuals."""

    @classmethod
    def nothing(cls, shape: tuple[int, int, int]) -> "Known":
        """Of latents of a shape, before the first pass."""
        return cls(np.zeros(shape, np.int64), np.zeros(shape, np.int64))

    def add(self, each: Pass, prediction: Integers, residuals: Integers) -> None:
        """Enter the residuals (b, z, p) of a pass."""
        self.values[:, :, each.where] = wrapped(prediction + residuals)
        self.residuals[:, :, each.where] = np.abs(residuals)


def walk(
    prior: MapPrior,
    passes: Sequence[Pass],
    shape: tuple[int, int, int],
    residuals: Callable[[Pass, Integers, Integers], Integers],
) -> Integers:
    """The integers of latents (b, z, positions), from a function that gives the residuals (b, z, p) of a pass for its
    predictions and levels."""
    known = Known.nothing(shape)
    for number, each in enumerate(passes):
        prediction, levels = prior.expected(number, known, each)
        known.add(each, prediction, residuals(each, prediction, levels))
    return known.values


def predicted(near: Integers, weights: NDArray[np.int32]) -> Integers:
    """The predictions (b, z, p) from neighbors (b, z, k, p) and weights (z, 1 + k or more)."""
    w = weights.astype(np.int64)
    total = np.zeros((near.shape[0], near.shape[1], near.shape[3]), np.int64) + (w[:, :1] + (1 << (WEIGHT_BITS - 1)))
    for i in range(near.shape[2]):
        total += w[:, i + 1, None] * near[:, :, i]
    return np.clip(total >> WEIGHT_BITS, -LARGEST, LARGEST)


def activity(near: Integers, residuals: Integers) -> Integers:
    """The activity (b, z, p) around positions with neighbors, and magnitudes of residuals of these, (b, z, k, p)."""
    if not near.shape[2]:
        return np.zeros((near.shape[0], near.shape[1], near.shape[3]), np.int64)
    own = residuals.sum(2)
    return own + 2 * (near.max(2) - near.min(2)) + own.sum(1, keepdims=True) // own.shape[1]


def classes_of(activities: Integers, means: NDArray[np.int32]) -> Integers:
    """The class of each position: how many bounds its activity (b, z, p) reaches, given the channels' means (z,)."""
    classes = np.zeros(activities.shape, np.int64)
    for bound in BOUNDS:
        classes += activities * 16 >= means.astype(np.int64)[:, None] * bound
    return classes


def wrapped(integers: Integers) -> Integers:
    """Integers modulo 2^16, from -2^15 to 2^15 - 1."""
    return ((integers + 2**15) & (2**16 - 1)) - 2**15

"""A plan in words and numbers: what a run will take and how it will go."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Explanation:
    """How one half of a VAE will run for pictures of one size. Sizes are bytes above the loaded weights."""

    half: str
    """"encode" or "decode"."""
    width: int
    height: int
    device: str
    dtype: str
    backend: str
    """What runs the convolutions that it can run; torch runs the others."""
    budget: int | None
    """What was allowed; None where the memory that is free was looked at."""
    predicted_peak: int | None
    """None for a network that can only be run as a whole."""
    prepared: int
    """Part of the peak: convolutions that stay prepared for the next picture."""
    to_file: int
    """What does not fit into memory and goes to a file, at the most at a time."""
    stages: int
    """Passes over maps; 1 for a network that is run as a whole."""
    slab_rows: tuple[int, int]
    """The fewest and the most rows of a pass that are in work at once."""


def pixel_words(given: Sequence[int], made: Sequence[int]) -> str:
    """The size of the pictures that a network takes or makes, as width x height, from its two shapes (..., h, w).

    >>> pixel_words((1, 4, 8, 6), (1, 3, 64, 48))
    '48x64'
    """
    height, width = max((given[-2:], made[-2:]), key=sum)
    return f"{width}x{height}"

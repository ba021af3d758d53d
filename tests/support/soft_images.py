"""Images with few colors that go over into each other, as files."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_soft(path: Path, size: tuple[int, int], rng: np.random.Generator) -> None:
    """Write one of this width and height."""
    small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    small.resize(size, Image.Resampling.BICUBIC).save(path)

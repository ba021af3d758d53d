"""Small caches of latents: images, options, and what is in a cache."""

from pathlib import Path

import numpy as np
from PIL import Image

from vaekit.domains.fitting import FitOptions
from vaekit.tasks.cache import CacheOptions
from vaekit.tasks.cache_data import STAMPS

SMALL = CacheOptions(FitOptions(size=32, buckets=8), dtype="fp32", shard_items=2)


def numbered(number: int, width: int = 40, height: int = 32) -> Image.Image:
    """A photograph-like image that is unlike those of other numbers."""
    random = np.random.default_rng(number)
    small = random.integers(0, 256, (4, 5, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def write_classes(data: Path) -> Path:
    """Seven images of three sizes in two classes, in a folder."""
    for number in range(7):
        width, height = ((48, 32), (32, 48), (33, 33))[number % 3]
        path = data / ("cat" if number % 2 else "dog") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        numbered(number, width, height).save(path)
    return data


def content(out: Path) -> dict[str, bytes]:
    """The files of a cache by name, without those that only save time."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in (STAMPS, ".lock")
    }

"""Random square crops of pictures, at several sizes, without end: what an image VAE trains on."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

Pixels = NDArray[np.uint8]
"""(h, w, 3), sRGB."""


def pyramid(pixels: Pixels, short_sides: Sequence[int], smallest: int) -> list[Pixels]:
    """The picture resized (antialiased) so that its short side has each of the given lengths; never enlarged.

    Versions whose short side would be below `smallest` are left out; a small picture appears once, as it is.
    """
    height, width = pixels.shape[:2]
    sizes = {min(side, height, width) for side in short_sides}
    picture = Image.fromarray(pixels)
    versions = []
    for side in sorted(size for size in sizes if size >= smallest):
        scale = side / min(height, width)
        size = (max(side, round(width * scale)), max(side, round(height * scale)))
        versions.append(np.asarray(picture.resize(size, Image.Resampling.LANCZOS)))
    return versions


def crops(
    pictures: Sequence[Pixels], weights: Sequence[float], size: int, batch_size: int, rng: np.random.Generator
) -> Iterator[Tensor]:
    """Batches (batch_size, 3, size, size) in [-1, 1], channels last in memory.

    Of two random places the busier one is taken, so that skies and studio backgrounds do not fill the batch. Half of
    the crops are mirrored.
    """
    chances = np.asarray(weights) / np.sum(weights)
    while True:
        chosen = rng.choice(len(pictures), size=batch_size, p=chances)
        batch = np.stack([_mirror(_busier_crop(pictures[i], size, rng), rng) for i in chosen])
        yield torch.from_numpy(batch).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def _busier_crop(pixels: Pixels, size: int, rng: np.random.Generator) -> Pixels:
    candidates = [_crop(pixels, size, rng) for _ in range(2)]
    return max(candidates, key=busyness)


def busyness(crop: NDArray[Any]) -> float:
    """How much there is to see in a piece of a picture (h, w, c): the spread of its green or grey."""
    return float(crop[::2, ::2, 1 if crop.shape[2] > 1 else 0].std())


def _crop(pixels: Pixels, size: int, rng: np.random.Generator) -> Pixels:
    top = rng.integers(pixels.shape[0] - size + 1)
    left = rng.integers(pixels.shape[1] - size + 1)
    return pixels[top : top + size, left : left + size]


def _mirror(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    return pixels[:, ::-1] if rng.random() < 0.5 else pixels

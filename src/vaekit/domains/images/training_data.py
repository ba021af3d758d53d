"""What an image VAE is trained on: where the pictures are, and what is done to each before the VAE sees it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from vaekit.domains.images.arrays import read_idx
from vaekit.errors import BadRecipe, NotFound
from vaekit.training.data import Source, Tensors
from vaekit.training.seeds import generator_for
from vaekit.words import record

HELD_OUT = 256
"""Pictures at most that are looked at while training goes on."""


@dataclass(frozen=True)
class Preparation:
    """What is done to a picture: the table [pictures] of a recipe."""

    size: int
    """Side of the square that the VAE sees."""
    channels: int = 3
    binary: str = ""
    """"dynamic": every value becomes -1 or 1, by chance, anew each time that it is seen; "static": once for all;
    empty: values stay."""


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Pictures to train on, and others to look at."""

    source: Source
    held_out: Tensor
    """(b, c, h, w)."""
    words: Mapping[str, Any]
    """What they are."""


def open_data(path: Path, table: Mapping[str, Any], seed: int) -> TrainingData:
    """Find out what kind of data is at a path, and prepare to read it.

    Raises:
        NotFound: nothing to train on is there.
        BadRecipe: the table makes no sense.
    """
    try:
        preparation = record(Preparation, table)
    except ValueError as error:
        raise BadRecipe(f"In [pictures], {error}.", "", "See docs/training.md.") from error
    train = sorted(path.glob("train-images*idx3-ubyte*"))
    test = sorted(path.glob("t10k-images*idx3-ubyte*"))
    if not (train and test):
        raise NotFound(f"There is nothing to train on in {path}.", "Expected idx files.", "")
    pictures, others = read_idx(train[0]).unsqueeze(1), read_idx(test[0]).unsqueeze(1)[:HELD_OUT]
    held_out = shades(others)
    if preparation.binary:
        held_out = binarised(held_out, generator_for(seed, "held out binary", 0))
    words = {"path": path.name, "pictures": len(pictures)}
    if preparation.binary == "static":
        pictures = binarised(shades(pictures), generator_for(seed, "binary", 0))
        return TrainingData(Tensors(pictures), held_out, words)
    prepare = binarised_shades if preparation.binary else as_shades
    return TrainingData(Tensors(pictures, prepare), held_out, words)


def shades(pixels: Tensor) -> Tensor:
    """Bytes -> values in [-1, 1]."""
    return pixels.float().div_(127.5).sub_(1.0)


def as_shades(pixels: Tensor, _: Generator) -> Tensor:
    """Bytes -> values in [-1, 1], nothing random about it."""
    return shades(pixels)


def binarised(pictures: Tensor, generator: Generator) -> Tensor:
    """-1 or 1, with the shade as the chance of a 1 (Burda et al. 2016, arXiv 1509.00519, section 5)."""
    return torch.bernoulli((pictures + 1) / 2, generator=generator) * 2 - 1


def binarised_shades(pixels: Tensor, generator: Generator) -> Tensor:
    """Bytes -> -1 or 1."""
    return binarised(shades(pixels), generator)

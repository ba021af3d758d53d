"""What an image VAE is trained on: images from a path, prepared as a recipe tells, and some of them held out."""

import heapq
import math
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from vaekit.domains.images.arrays import Arrays
from vaekit.domains.images.image_sets import ImageDataset, ImageSplits, open_images
from vaekit.domains.images.lazy import LazyImages, with_retries
from vaekit.domains.images.preparation import Preparation, binarized, shades
from vaekit.domains.images.skip_log import SkipLog
from vaekit.errors import BadItem, NotFound, NoTrainingData
from vaekit.evaluation.protocol import rank
from vaekit.training.data import Source, Tensors
from vaekit.training.seeds import generator_for

HELD_OUT = 256
"""Images at most that are looked at while training goes on, where nobody asks for another number."""
HELD_OUT_SHARE = 0.05
IN_MEMORY = 2**31
"""Bytes that prepared images of an array may take; more of them are prepared when their turn comes."""


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Images to train on, and others to look at."""

    source: Source
    held_out: Tensor | None
    """(b, c, h, w); None where there are too few to hold some out."""
    words: Mapping[str, Any]
    """What they are: kind, number, and a digest over names and sizes. Contents are not looked at."""
    workers: int
    """Threads that keep the processor busy with them."""


def open_training_data(path: Path, preparation: Preparation, seed: int, skipped: SkipLog | None = None) -> TrainingData:
    """Find out what kind of data is at a path, and prepare to read it.

    Args:
        path: see `open_images`.
        preparation: the recipe's [images].
        seed: of what is random about an image once for all.
        skipped: told of what cannot be read.

    Raises:
        NotFound: nothing is there.
        NoTrainingData: nothing to train on is there.
        MissingPackage: it takes a package that is not installed.
    """
    skipped = skipped or SkipLog()
    if skipped.path is not None and os.path.realpath(skipped.path.parent) == os.path.realpath(path):
        raise NoTrainingData(
            f"{path} is to be both the data and the folder of the run.",
            "A run writes images of its own, which would be taken for data when it goes on.",
            "Give the run another folder; one inside the data is fine.",
        )
    found = open_images(path, skipped)
    kept, apart = split_held_out(found, preparation.held_out)
    train = LazyImages(found.train, kept, preparation, skipped, seed)
    if preparation.often == "area":
        train = by_area(train)
    held_out = LazyImages(found.train if found.test is None else found.test, apart, preparation, skipped, seed)
    source: Source = in_memory(train) if fits(train) else train
    if not len(source):
        raise NoTrainingData(f"Not one image in {path} can be read.", next(iter(skipped.reasons.values()), ""), "")
    if len(source) == 1:
        skipped.say(f"There is one image to train on in {path}: the VAE will learn that one and no other.")
    words = {
        "kind": found.train.kind,
        "images": len(found.train),
        "digest": found.train.digest,
        "held_out": len(apart),
        "of_its_own": found.test is not None,
    }
    looked_at = held_out_images(held_out, seed) if len(apart) else None
    return TrainingData(source, looked_at, words, 0 if isinstance(source, Tensors) else available_cores())


def available_cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def split_held_out(found: ImageSplits, wanted: float | None) -> tuple[Tensor, Tensor]:
    """The numbers of the images to train on, and of those to hold out (among those set apart, if there are some)."""
    everything, candidates = torch.arange(len(found.train)), found.train if found.test is None else found.test
    total = len(candidates)
    if wanted is None:
        count = HELD_OUT if found.test is not None else min(HELD_OUT, int(HELD_OUT_SHARE * total))
    else:
        count = int(wanted * total) if wanted < 1 else int(wanted)
    apart = choose_held_out(candidates, count)
    if found.test is not None:
        return everything, apart
    if count >= total and count:
        raise NoTrainingData(
            f"With {count:,} of {total:,} images held out, none is left to train on.",
            "",
            "Give more images, or a lower held_out.",
        )
    kept = torch.ones(total, dtype=torch.bool)
    kept[apart] = False
    return everything[kept], apart


def choose_held_out(images: ImageDataset, count: int) -> Tensor:
    """The numbers of those whose names have the smallest hashes: the same for every seed and recipe, and of all kinds,
    however the images are sorted."""
    numbers = heapq.nsmallest(count, range(len(images)), key=lambda item: rank(images.name(item), 0))
    return torch.tensor(sorted(numbers, key=images.name), dtype=torch.long)


def by_area(train: LazyImages) -> LazyImages:
    """The same images, each as many times as squares cover it. Which side is which does not matter to that."""

    def times(item: int) -> int:
        try:
            width, height = with_retries(lambda: train.images.sides(item))
        except (BadItem, NotFound):
            return 1  # it is told, and replaced, when its turn comes
        side, longest = train.preparation.size, max(train.preparation.resize, default=train.preparation.size)
        scale = min(1.0, longest / min(width, height)) if longest else 1.0
        return max(1, math.ceil(scale * width / side) * math.ceil(scale * height / side))

    with ThreadPoolExecutor(available_cores(), "sizes") as pool:
        counts = torch.tensor(list(pool.map(times, train.chosen.tolist())))
    return replace(train, chosen=train.chosen.repeat_interleave(counts))


def held_out_images(held_out: LazyImages, seed: int) -> Tensor | None:
    """The held-out images, the same ones at every look."""
    images = held_out.as_is().once()
    if not len(images):
        return None
    if held_out.preparation.binary:
        return binarized(images, generator_for(seed, "held out binary", 0))
    return images


def fits(train: LazyImages) -> bool:
    """Whether the images are in memory, always cut in the same way, and small enough to be kept as they are."""
    images, preparation = train.images, train.preparation
    if not isinstance(images, Arrays) or not images.in_memory or preparation.varied:
        return False
    height, width = images.values.shape[1:3]
    return height == width and 4 * len(train) * preparation.channels * preparation.size**2 <= IN_MEMORY


def in_memory(train: LazyImages) -> Tensors:
    """All images as one tensor: bytes where they need nothing done to them, else prepared once for all."""
    assert isinstance(train.images, Arrays)
    values, preparation = train.images.values, train.preparation
    if values.dtype.name == "uint8" and values.shape[2:] == (preparation.size, preparation.channels):
        images = torch.from_numpy(values)[train.chosen].permute(0, 3, 1, 2).contiguous()
    else:
        images = train.as_is().once().contiguous()
    if preparation.binary == "static":
        images = binarized(shades(images), generator_for(train.seed, "binary", 0))
        preparation = replace(preparation, binary="")
    return Tensors(images, Preparing(preparation))


@dataclass(frozen=True)
class Preparing:
    """What is done to a batch of images in memory, and is random about it."""

    preparation: Preparation

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        values = shades(images)
        if self.preparation.flip:
            mirrored = torch.rand(len(values), 1, 1, 1, generator=generator) < 0.5
            values = torch.where(mirrored, values.flip(-1), values)
        return binarized(values, generator) if self.preparation.binary else values

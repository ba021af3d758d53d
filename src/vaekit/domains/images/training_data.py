"""Training data of images: prepared as the recipe describes, with a held-out part."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Generator, Tensor

from vaekit.datasets.arrays import Arrays
from vaekit.datasets.choose import split_held_out
from vaekit.datasets.dataset import Splits
from vaekit.datasets.open import open_dataset
from vaekit.datasets.read_errors import with_retries
from vaekit.datasets.single_files import Folder
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.splits import last_folder
from vaekit.domains.images.decode import sides_of
from vaekit.domains.images.lazy import LazyImages
from vaekit.domains.images.preparation import Preparation, binarized, shades
from vaekit.domains.images.records import IMAGE_RECORDS
from vaekit.errors import BadItem, NotFound, NoTrainingData
from vaekit.pipeline import available_cores
from vaekit.training.data import Source, Tensors, TrainingData, describe_data
from vaekit.training.seeds import generator_for

IN_MEMORY = 2**31
"""The maximum size in bytes of prepared images in memory; larger arrays are prepared lazily."""
WHOLE_IN_MEMORY = 2**28
"""The same for whole images in files, which are all prepared before the first step."""


def image_training_data(splits: Splits, preparation: Preparation, seed: int, skipped: SkipLog) -> TrainingData:
    """The images of a data set as a source of tensors.

    Args:
        splits: the data set.
        preparation: the recipe's [data].
        seed: of random transformations that are fixed for each image.
        skipped: for images that cannot be read.

    Raises:
        NoTrainingData: no image can be read.
    """
    splits = with_test_items_of_the_trained_kind(splits)
    kept, held_out_items = map(torch.from_numpy, split_held_out(splits, preparation.held_out, "images"))
    train = LazyImages(splits.train, kept, preparation, skipped, seed)
    if preparation.often == "area":
        train = by_area(train)
    held_out = LazyImages(
        splits.train if splits.test is None else splits.test, held_out_items, preparation, skipped, seed
    )
    source: Source[Tensor] = in_memory(train) if fits(train) else train
    if not len(source):
        raise NoTrainingData("None of the images can be read.", next(iter(skipped.reasons.values()), ""), "")
    if len(source) == 1:
        skipped.say("There is only one training image: the VAE will overfit to it.")
    description = describe_data(splits, len(held_out_items))
    evaluated = held_out_images(held_out, seed) if len(held_out_items) else None
    return TrainingData(source, evaluated, description, 0 if isinstance(source, Tensors) else available_cores())


def with_test_items_of_the_trained_kind(splits: Splits) -> Splits:
    """The same data, with only those test files that are in a folder of the same name as all training files, if some
    are: in data of inspection, training images are good, and most test images have defects."""
    train, test = splits.train, splits.test
    if not isinstance(train, Folder) or not isinstance(test, Folder):
        return splits
    kinds = {last_folder(name) for name in train.names}
    names = [name for name in test.names if last_folder(name) in kinds]
    return splits if len(kinds) != 1 or not names else Splits(train, replace(test, names=names))


def open_training_data(path: Path, preparation: Preparation, seed: int, skipped: SkipLog | None = None) -> TrainingData:
    """Open the training data at a path; see `open_dataset` and `image_training_data`.

    Raises:
        NotFound, NoTrainingData, MissingPackage: see these functions.
    """
    skipped = skipped or SkipLog()
    return image_training_data(open_dataset(path, IMAGE_RECORDS, skipped), preparation, seed, skipped)


def by_area(train: LazyImages) -> LazyImages:
    """The same images, each repeated by the number of squares that cover it. The orientation does not matter."""

    def repetitions(item: int) -> int:
        try:
            width, height = with_retries(lambda: sides_of(train.images.read(item)))
        except (BadItem, NotFound):
            return 1  # logged and replaced when it is loaded
        side, longest = train.preparation.size, max(train.preparation.resize, default=train.preparation.size)
        scale = min(1.0, longest / min(width, height)) if longest else 1.0
        return max(1, math.ceil(scale * width / side) * math.ceil(scale * height / side))

    with ThreadPoolExecutor(available_cores(), "sizes") as pool:
        counts = torch.tensor(list(pool.map(repetitions, train.chosen.tolist())))
    return replace(train, chosen=train.chosen.repeat_interleave(counts))


def held_out_images(held_out: LazyImages, seed: int) -> Tensor | None:
    """The held-out images, without random transformations, (b, c, size, size); None if none can be read."""
    images = held_out.as_is().once()
    if not len(images):
        return None
    if held_out.preparation.binary:
        return binarized(images, generator_for(seed, "held out binary", 0))
    return images


def fits(train: LazyImages) -> bool:
    """Whether the images are always cropped in the same way, and small enough once prepared."""
    images, preparation = train.images, train.preparation
    size = 4 * len(train) * preparation.channels * preparation.size**2
    if preparation.varied:
        return False
    if preparation.crop == "whole":
        return size <= WHOLE_IN_MEMORY and not preparation.binary
    if not isinstance(images, Arrays) or not images.in_memory:
        return False
    height, width = images.values.shape[1:3]
    return height == width and size <= IN_MEMORY


def in_memory(train: LazyImages) -> Tensors:
    """All images as one tensor: bytes if they need no preparation, otherwise prepared."""
    images, preparation = bytes_in_memory(train), train.preparation
    if images is None:
        images = train.as_is().once().contiguous()
    if preparation.binary == "static":
        images = binarized(shades(images), generator_for(train.seed, "binary", 0))
        preparation = replace(preparation, binary="")
    return Tensors(images, Preparing(preparation))


def bytes_in_memory(train: LazyImages) -> Tensor | None:
    """The images as bytes, (b, c, size, size); None if they need preparation."""
    arrays, preparation = train.images, train.preparation
    if not isinstance(arrays, Arrays) or not arrays.in_memory or preparation.exposing.is_relative:
        return None
    if arrays.values.dtype.name != "uint8" or arrays.values.shape[1:] != (
        preparation.size,
        preparation.size,
        preparation.channels,
    ):
        return None
    return torch.from_numpy(arrays.values)[train.chosen].permute(0, 3, 1, 2).contiguous()


@dataclass(frozen=True)
class Preparing:
    """Converts a batch of images in memory to floats in [-1, 1], with random flips and binarization."""

    preparation: Preparation

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        values = shades(images)
        if self.preparation.flip:
            mirrored = torch.rand(len(values), 1, 1, 1, generator=generator) < 0.5
            values = torch.where(mirrored, values.flip(-1), values)
        return binarized(values, generator) if self.preparation.binary else values

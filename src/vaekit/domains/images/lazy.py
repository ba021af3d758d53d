"""Images that are read on demand during training; those that cannot be read are replaced by others."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random

import torch
from torch import Tensor

from vaekit.datasets.dataset import Dataset
from vaekit.datasets.read_errors import with_retries
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.images.decode import pixels_of
from vaekit.domains.images.exposure import relative
from vaekit.domains.images.preparation import Preparation, binarized, cut, extent, put, short_side, too_small
from vaekit.errors import BadItem, NotFound, NoTrainingData, counted, printable
from vaekit.training.data import item_by_item
from vaekit.training.seeds import derive_seed, generator_for

TRIES = 32
"""Random replacements that are tried for an item that cannot be read, before all others are tried in order."""


@dataclass(frozen=True, eq=False)
class LazyImages:
    """A source of images on a disk."""

    images: Dataset
    chosen: Tensor
    """Indices of the images that are used, (n,)."""
    preparation: Preparation
    skipped: SkipLog
    seed: int
    """Seed of random choices that stay the same for an image, such as static binarization."""
    left_out: set[int] = field(default_factory=set)
    """Indices of images that cannot be read. Not their names, which need not be unique."""

    def __len__(self) -> int:
        return len(self.chosen)

    def batch(self, items: Tensor, seed: int) -> Tensor:
        return item_by_item(self, items, seed)

    def empty(self, count: int) -> Tensor:
        """(count, c, size, size), channels last in memory."""
        side = self.preparation.size
        return torch.empty(count, side, side, self.preparation.channels).permute(0, 3, 1, 2)

    def fill(self, out: Tensor, item: int, seed: int) -> None:
        """Write an item into (c, size, size); one that cannot be read is replaced by another, chosen by the seed.

        Raises:
            NoTrainingData: no image can be read, or reading fails after retries.
        """
        for other in self._candidates(item, seed):
            number = int(self.chosen[other])
            if number in self.left_out:
                continue
            try:
                self.show(out, other, seed)
                return
            except (BadItem, NotFound) as error:
                self.left_out.add(number)
                self.skipped.note(self.images.key(number), str(error))
            finally:
                self.skipped.write()
        first = next(iter(self.skipped.reasons.values()), "")
        raise NoTrainingData(
            f"None of {counted(len(self), 'image')} can be read. {first}", "", "Check the first of them."
        )

    def show(self, out: Tensor, item: int, seed: int) -> None:
        """Write an item, without a replacement.

        Raises:
            BadItem, NotFound: it cannot be read.
            NoTrainingData: reading fails after retries.
        """
        random, number = Random(seed), int(self.chosen[item])
        target = short_side(self.preparation, random)
        pixels = with_retries(lambda: pixels_of(self.images.read(number), target or None))
        if too_small(pixels, self.preparation.size):
            width, height = extent(pixels)
            self.skipped.say_once(
                "small",
                f"{printable(self.images.key(number))} has {width} x {height} pixels, fewer than the size of the "
                "recipe: it is enlarged, like every image that is too small.",
            )
        put(cut(pixels, self.preparation, target, random), out.permute(1, 2, 0).numpy())
        if self.preparation.exposing.is_relative:
            out.copy_(relative(out.unsqueeze(0))[0])
        if self.preparation.binary == "static":
            out.copy_(binarized(out, generator_for(self.seed, "binary", number)))
        elif self.preparation.binary:
            out.copy_(binarized(out, torch.Generator().manual_seed(derive_seed(seed, "binary", 0))))

    def _candidates(self, item: int, seed: int) -> Iterator[int]:
        yield item
        random, last = Random(derive_seed(seed, "instead", 0)), item
        for _ in range(TRIES):
            last = int(random.random() * len(self))
            yield last
        yield from range(last, len(self))
        yield from range(last)

    def once(self, seed: int = 0) -> Tensor:
        """All images that can be read, (b, c, size, size), each with one crop that depends on its name."""
        images, kept = self.empty(len(self)), 0
        for item in range(len(self)):
            name = self.images.key(int(self.chosen[item]))
            try:
                self.show(images[kept], item, derive_seed(seed, name, 0))
                kept += 1
            except (BadItem, NotFound) as error:
                self.skipped.note(name, str(error))
        return images[:kept]

    def as_is(self) -> "LazyImages":
        """The same without random flips and binarization; crops stay."""
        return replace(self, preparation=replace(self.preparation, flip=False, binary=""))

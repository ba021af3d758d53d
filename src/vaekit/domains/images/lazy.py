"""Images read when their turn comes, as the training loop takes them; what cannot be read is replaced by others."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from random import Random
from typing import TypeVar

import torch
from torch import Tensor

from vaekit.domains.images.image_sets import ImageDataset
from vaekit.domains.images.preparation import Preparation, binarized, cut, extent, put, short_side, too_small
from vaekit.domains.images.read import is_transient
from vaekit.domains.images.skip_log import SkipLog
from vaekit.errors import BadItem, NotFound, NoTrainingData
from vaekit.training.data import item_by_item
from vaekit.training.seeds import derive_seed, generator_for

PAUSES = (0.2, 1.0, 5.0)
"""Seconds to wait before an image is read again that was no fault of the image."""
TRIES = 32
"""Other items drawn for one that cannot be read, before all of them are tried in turn."""

Read = TypeVar("Read")


@dataclass(frozen=True, eq=False)
class LazyImages:
    """A source of images that are on a disk."""

    images: ImageDataset
    chosen: Tensor
    """The numbers of those that are used, (n,)."""
    preparation: Preparation
    skipped: SkipLog
    seed: int
    """Of what is random about an image once for all."""
    left_out: set[int] = field(default_factory=set)
    """The numbers of those that cannot be read. Not their names: others may have the same."""

    def __len__(self) -> int:
        return len(self.chosen)

    def batch(self, items: Tensor, seed: int) -> Tensor:
        return item_by_item(self, items, seed)

    def room(self, count: int) -> Tensor:
        """(count, c, size, size), channels last in memory."""
        side = self.preparation.size
        return torch.empty(count, side, side, self.preparation.channels).permute(0, 3, 1, 2)

    def fill(self, room: Tensor, item: int, seed: int) -> None:
        """Write an item into (c, size, size); one that cannot be read is replaced by another, which follows from the
        seed.

        Raises:
            NoTrainingData: not one of all can be read, or the disk does not give one.
        """
        for other in self._candidates(item, seed):
            number = int(self.chosen[other])
            if number in self.left_out:
                continue
            try:
                self.show(room, other, seed)
                return
            except (BadItem, NotFound) as error:
                self.left_out.add(number)
                self.skipped.note(self.images.name(number), str(error))
            finally:
                self.skipped.write()
        first = next(iter(self.skipped.reasons.values()), "")
        raise NoTrainingData(f"Not one of {len(self):,} images can be read. {first}", "", "Look at the first of them.")

    def show(self, room: Tensor, item: int, seed: int) -> None:
        """Write this very item.

        Raises:
            BadItem, NotFound: it cannot be read.
            NoTrainingData: the disk does not give it.
        """
        random, number = Random(seed), int(self.chosen[item])
        target = short_side(self.preparation, random)
        pixels = with_retries(lambda: self.images.read(number, target or None))
        if too_small(pixels, self.preparation.size):
            self.skipped.small(self.images.name(number), extent(pixels))
        put(cut(pixels, self.preparation, target, random), room.permute(1, 2, 0).numpy())
        if self.preparation.binary == "static":
            room.copy_(binarized(room, generator_for(self.seed, "binary", number)))
        elif self.preparation.binary:
            room.copy_(binarized(room, torch.Generator().manual_seed(derive_seed(seed, "binary", 0))))

    def _candidates(self, item: int, seed: int) -> Iterator[int]:
        yield item
        random, last = Random(derive_seed(seed, "instead", 0)), item
        for _ in range(TRIES):
            last = int(random.random() * len(self))
            yield last
        yield from range(last, len(self))
        yield from range(last)

    def once(self, seed: int = 0) -> Tensor:
        """All of those that can be read, (b, c, size, size), each cut in one way that follows from its name."""
        room, kept = self.room(len(self)), 0
        for item in range(len(self)):
            name = self.images.name(int(self.chosen[item]))
            try:
                self.show(room[kept], item, derive_seed(seed, name, 0))
                kept += 1
            except (BadItem, NotFound) as error:
                self.skipped.note(name, str(error))
        return room[:kept]

    def as_is(self) -> "LazyImages":
        """The same without what changes from one time to the next beside the cut."""
        return replace(self, preparation=replace(self.preparation, flip=False, binary=""))


def with_retries(read: Callable[[], Read]) -> Read:
    """What `read` gives, once a disk or network that fails for a moment gives it.

    An image is left out for what is wrong with it, and for nothing else: left out for an outage, it would be back
    after a restart, and the run another one.

    Raises:
        BadItem, NotFound: the image is at fault, or takes more memory than there is, time after time.
        NoTrainingData: the disk or the network is, and stays so.
    """
    for pause in PAUSES:
        try:
            return read()
        except BadItem as error:
            if not is_transient(error):
                raise
        time.sleep(pause)
    try:
        return read()
    except BadItem as error:
        if not is_transient(error) or isinstance(error.__cause__, MemoryError):
            raise
        raise NoTrainingData(
            f"{error.found} That is so after {1 + len(PAUSES)} tries.",
            "The disk or the network is at fault, not the image, so no other takes its place.",
            "Once it can be read, the same command goes on. If the disk has lost it for good, put any file of the same "
            "size there: that one is left out.",
        ) from error

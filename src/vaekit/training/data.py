"""What training is fed with: items in an endless shuffled order, of which any part can be had at any time.

The order follows from the seed and the number of items. So the position of a run in its data is one number, the
samples seen, and any run or process can be given any part of it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, runtime_checkable

import torch
from torch import Generator, Tensor

from vaekit.training.seeds import derived, generator_for


@runtime_checkable
class Source(Protocol):
    """Items of one kind."""

    def __len__(self) -> int:
        """How many there are."""

    def batch(self, items: Tensor, seed: int) -> Tensor:
        """The items of these numbers (b,), stacked (b, ...). What is random about them (crops, flips, noise) follows
        from the seed. Called from several threads."""


@dataclass(frozen=True, eq=False)
class Tensors:
    """Items that are in memory already."""

    items: Tensor
    """(n, ...)."""
    prepare: Callable[[Tensor, Generator], Tensor] | None = None
    """What is done to a batch, and what is random about it."""

    def __len__(self) -> int:
        return len(self.items)

    def batch(self, items: Tensor, seed: int) -> Tensor:
        chosen = self.items.index_select(0, items)
        return chosen if self.prepare is None else self.prepare(chosen, torch.Generator().manual_seed(seed))


@dataclass(frozen=True, eq=False)
class Stream:
    """A source in the order in which a run sees it: all items once, in a random order, then all again in another."""

    source: Source
    seed: int

    def items(self, position: int, count: int) -> Tensor:
        """The numbers of the items that stand at `position` and behind it, (count,)."""
        length = len(self.source)
        parts = []
        while count:
            epoch, start = divmod(position, length)
            part = shuffled(length, self.seed, epoch)[start : start + count]
            parts.append(part)
            position, count = position + len(part), count - len(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def batch(self, position: int, count: int) -> Tensor:
        """The items themselves (count, ...), with what is random about them."""
        return self.source.batch(self.items(position, count), derived(self.seed, "items", position))


@lru_cache(maxsize=4)
def shuffled(length: int, seed: int, epoch: int) -> Tensor:
    """The order of one pass over the data."""
    return torch.randperm(length, generator=generator_for(seed, "order", epoch))


def ahead(stream: Stream, positions: Iterable[int], count: int, workers: int, depth: int = 4) -> Iterator[Tensor]:
    """The batches at these positions, in their order, made ahead of time by so many threads; 0 makes each when it is
    asked for, which is the quickest for data in memory."""
    if not workers:
        for position in positions:
            yield stream.batch(position, count)
        return
    with ThreadPoolExecutor(workers, "data") as pool:
        waiting: deque[Future[Tensor]] = deque()
        try:
            for position in positions:
                waiting.append(pool.submit(stream.batch, position, count))
                if len(waiting) > max(depth, workers):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for left in waiting:
                left.cancel()

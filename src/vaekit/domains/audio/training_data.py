"""Training data of audio: random parts of sounds, and held-out parts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from random import Random

import torch
from jaxtyping import Float
from torch import Tensor

from vaekit.datasets.choose import split_held_out
from vaekit.datasets.dataset import Dataset, Splits
from vaekit.datasets.read_errors import with_retries
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.audio.reading import reader_of
from vaekit.domains.audio.schema import AudioSchema, put_middle
from vaekit.domains.record_tensors import tensor_of
from vaekit.errors import BadItem, NotFound, NoTrainingData, counted
from vaekit.pipeline import available_cores
from vaekit.training.data import TrainingData, describe_data, item_by_item
from vaekit.training.seeds import derive_seed

IN_MEMORY = 2**27
"""The maximum number of values of sounds that are kept in memory: 512 MiB."""
MOST_PARTS = 4096
"""Of one sound, in an epoch."""


@dataclass(frozen=True, eq=False)
class Sounds:
    """Waveforms in memory. An item is a random part of one; long ones have several."""

    values: Float[Tensor, "c t"]
    """All of them, one after the other."""
    starts: Sequence[int]
    """Of each item's sound, and the end of the last one."""
    lengths: Sequence[int]
    samples: int
    """Of a part."""

    def __len__(self) -> int:
        return len(self.starts)

    def batch(self, items: Tensor, seed: int) -> Tensor:
        return item_by_item(self, items, seed)

    def empty(self, count: int) -> Tensor:
        """(count, c, samples)."""
        return torch.empty(count, len(self.values), self.samples)

    def fill(self, out: Tensor, item: int, seed: int) -> None:
        """Write a random part of an item's sound into (c, samples)."""
        first = self.starts[item]
        out.zero_()
        put_middle(
            out,
            self.lengths[item],
            lambda start, stop: self.values[:, first + start : first + stop],
            Random(seed).random(),
        )


@dataclass(frozen=True, eq=False)
class SoundsOnDisk:
    """Sounds that are read when their turn comes. An item is a random part of one; long ones have several."""

    dataset: Dataset
    numbers: Sequence[int]
    """Of the record of each item."""
    schema: AudioSchema
    skipped: SkipLog
    left_out: set[int] = field(default_factory=set)
    """Records whose samples cannot be read, although their header can."""

    def __len__(self) -> int:
        return len(self.numbers)

    def batch(self, items: Tensor, seed: int) -> Tensor:
        return item_by_item(self, items, seed)

    def empty(self, count: int) -> Tensor:
        """(count, c, samples)."""
        return torch.empty(count, self.schema.channels, self.schema.samples)

    def fill(self, out: Tensor, item: int, seed: int) -> None:
        """Write a random part of an item's sound into (c, samples); one that cannot be read is replaced by the next.

        Raises:
            NoTrainingData: no sound can be read.
        """
        for place in range(item, item + len(self)):
            number = self.numbers[place % len(self)]
            if number in self.left_out:
                continue
            try:
                with_retries(partial(self._read, out, number, seed))
                return
            except (BadItem, NotFound) as error:
                self.left_out.add(number)
                self.skipped.note(self.dataset.key(number), str(error))
                self.skipped.write()
        raise NoTrainingData("No sound can be read.", next(iter(self.skipped.reasons.values()), ""), "")

    def _read(self, out: Tensor, number: int, seed: int) -> None:
        out.zero_()
        with reader_of(self.dataset.read(number), self.schema.format) as reader:
            put_middle(out, reader.samples, reader, Random(derive_seed(seed, "part", 0)).random())


def audio_training_data(splits: Splits, schema: AudioSchema, held_out: float | None, log: SkipLog) -> TrainingData:
    """The sounds of a data set as a source of parts.

    Args:
        splits: the data set.
        schema: sample rate, channels and length of parts.
        held_out: see `split_held_out`.
        log: for sounds that cannot be read.

    Raises:
        NoTrainingData: no sound can be read.
    """
    kept, apart = split_held_out(splits, held_out, "sounds")
    lengths = {number: length for number, length in lengths_of(splits.train, kept.tolist(), schema, log) if length}
    if not lengths:
        raise NoTrainingData(
            f"None of {counted(len(kept), 'sound')} can be read.",
            next(iter(log.reasons.values()), ""),
            "Check the first one.",
        )
    source: Sounds | SoundsOnDisk
    in_memory = sum(lengths.values()) * schema.channels <= IN_MEMORY
    if in_memory:
        source = sounds_in_memory(splits.train, lengths, schema, log)
    else:
        numbers = [number for number, length in lengths.items() for _ in range(parts_of(length, schema.samples))]
        source = SoundsOnDisk(splits.train, numbers, schema, log)
    evaluated = tensor_of(splits.train if splits.test is None else splits.test, apart, schema, log)
    log.write()
    description = describe_data(splits, len(apart))
    return TrainingData(
        source, evaluated if len(evaluated) else None, description, 0 if in_memory else available_cores()
    )


def lengths_of(
    dataset: Dataset, numbers: Sequence[int], schema: AudioSchema, log: SkipLog
) -> Iterator[tuple[int, int]]:
    """The number and the length of each sound that can be opened, in samples of the schema."""
    for number in numbers:
        try:
            with reader_of(dataset.read(number), schema.format) as reader:
                yield number, reader.samples
        except (BadItem, NotFound) as error:
            log.note(dataset.key(number), str(error))


def sounds_in_memory(dataset: Dataset, lengths: dict[int, int], schema: AudioSchema, log: SkipLog) -> Sounds:
    """Read all sounds.

    Raises:
        NoTrainingData: none can be read.
    """
    waveforms: list[Tensor] = []
    for number in lengths:
        try:
            with reader_of(dataset.read(number), schema.format) as reader:
                waveforms.append(reader.all())
        except (BadItem, NotFound) as error:
            log.note(dataset.key(number), str(error))
    if not waveforms:
        raise NoTrainingData("None of the sounds can be read.", next(iter(log.reasons.values()), ""), "")
    sizes = [each.shape[1] for each in waveforms]
    firsts = list(accumulate(sizes, initial=0))
    items = [i for i, size in enumerate(sizes) for _ in range(parts_of(size, schema.samples))]
    return Sounds(torch.cat(waveforms, dim=1), [firsts[i] for i in items], [sizes[i] for i in items], schema.samples)


def parts_of(length: int, samples: int) -> int:
    """How often a sound is an item of an epoch: as often as its length holds parts, rounded up.

    >>> parts_of(100, 4096), parts_of(8193, 4096)
    (1, 3)
    """
    return min(MOST_PARTS, max(1, -(-length // samples)))

"""Both splits of a data set as one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from vaekit.datasets.dataset import Dataset, Record, Splits
from vaekit.datasets.labels import read_labels
from vaekit.datasets.text_files import joint_digest
from vaekit.errors import NotFound


@dataclass(frozen=True, eq=False)
class Whole:
    """The records of several data sets, one after another."""

    parts: Sequence[Dataset]

    @property
    def kind(self) -> str:
        return self.parts[0].kind

    @property
    def digest(self) -> str:
        return joint_digest([part.digest for part in self.parts])

    @cached_property
    def starts(self) -> list[int]:
        """The position of the first record of each part, and the number of all records."""
        starts = [0]
        for part in self.parts:
            starts.append(starts[-1] + len(part))
        return starts

    def __len__(self) -> int:
        return self.starts[-1]

    def key(self, item: int) -> str:
        part, number = self._located(item)
        return part.key(number)

    def read(self, item: int) -> Record:
        part, number = self._located(item)
        return part.read(number)

    def _located(self, item: int) -> tuple[Dataset, int]:
        for part, start, end in zip(self.parts, self.starts, self.starts[1:], strict=False):
            if item < end:
                return part, item - start
        raise IndexError(item)


def whole(splits: Splits) -> Whole:
    """The training split, then the test split, if there is one."""
    return Whole([splits.train, *([] if splits.test is None else [splits.test])])


def labels_of(data: Whole, column: str | None) -> list[str | None]:
    """The labels of all records; empty if there are none and no column is required.

    Args:
        data: the records.
        column: the name of the column; None for the first usual one, if there is any.

    Raises:
        NotFound: there is no such column.
        NoTrainingData: labels cannot be read.
    """
    labels: list[str | None] = []
    for part in data.parts:
        try:
            labels += read_labels(part, column)
        except NotFound:
            if column is not None:
                raise
            labels += [None] * len(part)
    return labels if any(label is not None for label in labels) else []

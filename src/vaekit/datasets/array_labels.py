"""Labels of items in arrays: other arrays in the same npz file, or the idx file of labels beside MNIST's images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vaekit.datasets.array_files import UNREADABLE_ZIP, array_in, item_names, read_idx, unpacked_size
from vaekit.datasets.label_columns import label_texts
from vaekit.errors import NoTrainingData, printable
from vaekit.reading import open_file, refuse_beyond_memory

EXPECTED = "Expected an array of one label for each item."
TRAIN, TEST = "train", frozenset({"test", "val", "valid", "validation"})
"""Parts of the names of arrays of a split, such as `y_test`."""
KIND = ".npy"
"""The suffix of records of an npz file."""


@dataclass(frozen=True)
class IdxLabels:
    """The file of labels beside an idx file of images."""

    images: Path

    @property
    def file(self) -> Path | None:
        """Its path; None if there is none."""
        name = self.images.name.replace("images", "labels").replace("idx3", "idx1")
        if name == self.images.name:
            return None
        paths = [self.images.with_name(each) for each in (name, name.removesuffix(".gz"), f"{name}.gz")]
        return next((path for path in paths if path.is_file()), None)

    def label_names(self) -> Sequence[str]:
        return ["label"] if self.file is not None else []

    def labels(self, name: str) -> Sequence[str | None]:
        assert self.file is not None
        return label_texts(read_idx(self.file).reshape(-1).tolist())


@dataclass(frozen=True)
class NpzLabels:
    """The arrays of labels beside the items of an npz file.

    The names of columns are those of arrays without the name of the split: `y` for `y_train` and `y_test`.
    """

    path: Path
    of_test: bool
    """Whether the labels are those of the test split."""

    def label_names(self) -> Sequence[str]:
        return list(self._arrays())

    def labels(self, name: str) -> Sequence[str | None]:
        array = self._arrays()[name]
        try:
            with open_file(self.path) as opened, np.load(opened, allow_pickle=False) as file:
                refuse_beyond_memory(unpacked_size(file, array), self.path)
                values = array_in(file, array, self.path, EXPECTED)
        except UNREADABLE_ZIP as error:
            raise self._unreadable(error, array) from error
        if values.ndim == 0 or values.size != len(values):
            raise NoTrainingData(
                f"The array {printable(array)} of {self.path} has the shape {values.shape}.",
                EXPECTED,
                "Choose another one with --label.",
            )
        return label_texts(values.reshape(-1).tolist())

    def _arrays(self) -> dict[str, str]:
        """The name of the array of each column."""
        try:
            with open_file(self.path) as opened, np.load(opened, allow_pickle=False) as file:
                names = [name for name in file.files if f"{name}{KIND}" in file.zip.namelist()]
        except UNREADABLE_ZIP as error:
            raise self._unreadable(error) from error
        others = [name for name in names if name not in item_names(names)]
        return {column: name for name in others for column, test in [column_of(name)] if test == self.of_test}

    def _unreadable(self, error: Exception, array: str = "") -> NoTrainingData:
        inside = f"The array {printable(array)} of {self.path}" if array else self.path
        return NoTrainingData(f"{inside} cannot be read: {printable(str(error))}.", EXPECTED, "Save it again.")


def column_of(name: str) -> tuple[str, bool]:
    """The column of an array, and whether it is in the test split.

    >>> column_of("y"), column_of("test_labels")
    (('y', False), ('labels', True))
    """
    parts = name.split("_")
    kept = [part for part in parts if part.lower() != TRAIN and part.lower() not in TEST]
    return "_".join(kept) or name, any(part.lower() in TEST for part in parts)

"""The arrays of npz files that hold rows, their labels, and the names of their columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from vaekit.datasets.array_files import UNREADABLE_ZIP, array_in, item_names
from vaekit.datasets.array_labels import KIND, NpzLabels
from vaekit.errors import NoTrainingData, printable
from vaekit.reading import open_file

EXPECTED = "Expected an array of rows: (n, columns), of numbers, booleans or texts."
HEADERS = ("columns", "feature_names")
"""The names of arrays with the names of columns."""


@dataclass(frozen=True)
class NpzRows:
    """The arrays of rows in an npz file."""

    train: str | None
    """The name of the array; None if there is none."""
    test: str | None
    """The same for the test split."""
    columns: tuple[str, ...] | None
    """The names of the columns; None if there are none."""


@dataclass(frozen=True)
class RowLabels(NpzLabels):
    """The arrays of labels beside the rows of an npz file."""

    rows: NpzRows

    def label_names(self) -> Sequence[str]:
        others = {self.rows.train, *HEADERS}
        return [name for name in super().label_names() if name not in others and name.lower() not in others]


def npz_rows(path: Path) -> NpzRows:
    """Find the arrays of rows in an npz file: those with usual names, or else the only one with two axes.

    Raises:
        NoTrainingData: the file is damaged.
    """
    try:
        with open_file(path) as opened, np.load(opened, allow_pickle=False) as file:
            names = [name for name in file.files if f"{name}{KIND}" in file.zip.namelist()]
            header = next((name for name in names if name.lower() in HEADERS), None)
            train, test = item_names([name for name in names if name != header])
            if train is None:
                tables = [name for name in names if axes(file, name) == 2]
                train = tables[0] if len(tables) == 1 else None
            columns = None if header is None else array_in(file, header, path, EXPECTED).reshape(-1).tolist()
    except UNREADABLE_ZIP as error:
        raise NoTrainingData(f"{path} cannot be read: {printable(str(error))}.", EXPECTED, "Save it again.") from error
    return NpzRows(train, test, None if columns is None else tuple(map(name_text, columns)))


def name_text(value: Any) -> str:
    """The name of a column as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def axes(file: Any, name: str) -> int:
    """The number of axes of an array in an npz file.

    Raises:
        ValueError, OSError: it is damaged.
    """
    with file.zip.open(f"{name}{KIND}") as member:
        return len(read_header(member)[0])


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """The header of an npy file: shape, whether it is stored by columns, and type.

    Raises:
        ValueError, OSError: it is damaged.
    """
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)

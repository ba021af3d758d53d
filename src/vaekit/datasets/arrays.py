"""Files with many items in one array: MNIST's idx, and NumPy's npy and npz."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaekit.datasets.array_files import read_idx, read_npy, read_npz
from vaekit.datasets.array_labels import IdxLabels, NpzLabels
from vaekit.datasets.dataset import ArrayRecord, Labelled, RecordFormat, Splits, reopened
from vaekit.datasets.listing import digest_of
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.source import Source, for_tests


@dataclass(frozen=True, eq=False)
class Arrays:
    """Items of one shape in an array."""

    values: NDArray[Any]
    """(n, ...), in the domain's layout; in memory, or memory-mapped."""
    full_scale: float | None
    """See `ArrayRecord`."""
    file: str
    """The name of the file, for messages."""
    digest: str
    reopen: "Callable[[], Arrays] | None" = None
    """Opens a memory-mapped file again, for pickling; None for arrays in memory."""
    beside: Labelled | None = None
    """The labels in the same file or in another one beside it."""
    kind = "array"

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle the path of a memory-mapped file, not its content."""
        return super().__reduce_ex__(protocol) if self.reopen is None else (reopened, (self.reopen, self.digest))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def in_memory(self) -> bool:
        """Whether items are read without disk access."""
        return not isinstance(self.values, np.memmap)

    def key(self, item: int) -> str:
        return f"{self.file}[{item}]"

    def read(self, item: int) -> ArrayRecord:
        return ArrayRecord(self.key(item), np.asarray(self.values[item]), self.full_scale)

    def label_names(self) -> Sequence[str]:
        return [] if self.beside is None else self.beside.label_names()

    def labels(self, name: str) -> Sequence[str | None]:
        assert self.beside is not None
        return self.beside.labels(name)


def arrays_of(values: NDArray[Any], file: str, wanted: RecordFormat, beside: Labelled | None = None) -> Arrays:
    """An array as a data set, in the domain's layout.

    Raises:
        NoTrainingData: it is not an array of items of the domain.
    """
    assert wanted.arrange is not None
    digest = digest_of([(f"{file} {values.shape} {values.dtype.str}", values.nbytes)])
    placed, full_scale = wanted.arrange(values, file)
    return Arrays(placed, full_scale, file, digest, beside=beside)


def mapped_arrays(path: Path, wanted: RecordFormat) -> Arrays:
    """The items of a memory-mapped npy file.

    Raises:
        NoTrainingData: see `read_npy` and `arrays_of`.
    """
    arrays = arrays_of(read_npy(path, wanted.array_shape), path.name, wanted)
    return replace(arrays, reopen=partial(mapped_arrays, path, wanted))


def is_idx(name: str) -> bool:
    """Whether a file has a name like the idx files of MNIST's images."""
    return "idx3" in name and "images" in name


def named(names: Iterable[str], *words: str) -> str | None:
    """The first of the sorted names that contains one of the words."""
    return next((name for name in sorted(names) if any(word in name for word in words)), None)


def idx_files(path: Path) -> list[str]:
    """The idx files directly in a folder."""
    return [name for name in os.listdir(path) if is_idx(name) and (path / name).is_file()]  # noqa: PTH208 (may be many)


def open_idx_folder(path: Path, wanted: RecordFormat, log: SkipLog) -> Splits:
    """Open MNIST's files, `train...` and `t10k...`."""
    del log
    names = idx_files(path)
    train, test = named(names, "train"), named(names, "t10k", "test")
    assert train is not None
    return Splits(
        arrays_of(read_idx(path / train), train, wanted, IdxLabels(path / train)),
        None if test is None else arrays_of(read_idx(path / test), test, wanted, IdxLabels(path / test)),
    )


def open_idx(path: Path, wanted: RecordFormat, log: SkipLog) -> Splits:
    """Open one idx file."""
    del log
    return Splits(arrays_of(read_idx(path), path.name, wanted, IdxLabels(path)))


def open_npy(path: Path, wanted: RecordFormat, log: SkipLog) -> Splits:
    """Open an npy file."""
    del log
    return Splits(mapped_arrays(path, wanted))


def open_npz(path: Path, wanted: RecordFormat, log: SkipLog) -> Splits:
    """Open an npz file."""
    del log
    train, test = read_npz(path, wanted.array_shape)
    return Splits(
        arrays_of(train, path.name, wanted, NpzLabels(path, of_test=False)),
        None if test is None else arrays_of(test, for_tests(path.name), wanted, NpzLabels(path, of_test=True)),
    )


IDX_FOLDER = Source(
    about="a folder with MNIST's idx files",
    yields=ArrayRecord,
    claims=lambda path, _: path.is_dir() and named(idx_files(path), "train") is not None,
    open=open_idx_folder,
)
IDX_FILE = Source(
    about="an idx file",
    yields=ArrayRecord,
    claims=lambda _, start: start.startswith((b"\x00\x00\x08", b"\x1f\x8b")),
    open=open_idx,
)
NPY = Source(
    about="an .npy array",
    yields=ArrayRecord,
    claims=lambda _, start: start.startswith(b"\x93NUMPY"),
    open=open_npy,
    suffixes=lambda _: frozenset({".npy"}),
    plural="arrays",
)
NPZ = Source(
    about="an .npz file of arrays",
    yields=ArrayRecord,
    claims=lambda _, start: start.startswith(b"PK"),
    open=open_npz,
    suffixes=lambda _: frozenset({".npz"}),
    plural="arrays",
)

"""Items in single files: one file, or a folder of files."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vaekit.datasets.dataset import FileRecord, RecordFormat, Splits
from vaekit.datasets.label_columns import name_columns
from vaekit.datasets.listing import Listed, digest_of
from vaekit.datasets.metadata_file import metadata_columns
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.source import Source


@dataclass(frozen=True, eq=False)
class Folder:
    """Files in a folder and its subfolders, each an item."""

    root: str
    names: Sequence[str]
    """Paths relative to the folder, with slashes."""
    digest: str
    kind = "files"

    def __len__(self) -> int:
        return len(self.names)

    def key(self, item: int) -> str:
        return self.names[item]

    def read(self, item: int) -> FileRecord:
        return FileRecord(Path(self.root, self.names[item]))

    def label_names(self) -> Sequence[str]:
        return list(self._columns())

    def labels(self, name: str) -> Sequence[str | None]:
        return self._columns()[name]

    def _columns(self) -> dict[str, list[str | None]]:
        return {**name_columns(self.names, contents=False), **metadata_columns(Path(self.root), self.names)}


def folder_of(root: Path, files: Sequence[Listed]) -> Folder:
    """The files of a folder as a data set."""
    return Folder(os.fspath(root), [name for name, _ in files], digest_of(files))


def gather_files(root: Path, files: Sequence[Listed], title: str, wanted: RecordFormat, log: SkipLog) -> Folder:
    """Open the files of a folder."""
    del title, wanted, log
    return folder_of(root, files)


def open_file(path: Path, wanted: RecordFormat, log: SkipLog) -> Splits:
    """Open one file with any name."""
    del wanted, log
    return Splits(folder_of(path.parent, [(path.name, path.stat().st_size)]))


FILES = Source(
    about="a folder of {items} or one of them",
    yields=FileRecord,
    claims=lambda path, _: path.is_file(),
    open=open_file,
    suffixes=lambda wanted: wanted.suffixes,
    gather=gather_files,
)

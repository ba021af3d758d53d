"""Tar files with one item per member, such as WebDataset's: indexed once, with random access, never extracted."""

import os
import re
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from vaekit.cache import cached_result
from vaekit.datasets.dataset import BytesRecord, RecordFormat, Splits
from vaekit.datasets.label_columns import annotation_columns, name_columns
from vaekit.datasets.listing import Listed, digest_of
from vaekit.datasets.read_errors import read_error
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.source import Source
from vaekit.errors import BadItem, NoTrainingData, printable, reason_of, remedy_for
from vaekit.reading import ITEM, open_file

LARGEST_EXTENSION = 2**16
"""The maximum number of bytes of an extension header, such as a long name."""
PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
"""The magic bytes of gzip, bzip2, xz and zstd."""
PACKED_NAME = re.compile(r"tar|\.(tgz|tbz2?|txz|tzst)$", re.IGNORECASE)
SUFFIXES = frozenset({".tar"})
ANNOTATIONS = frozenset({".cls", ".json", ".txt"})
"""The suffixes of members with labels and captions."""
LARGEST_ANNOTATION = 2**16
"""In bytes; larger members are no labels."""
EXTENSIONS = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)
"""Types of extension headers, whose content tarfile reads."""

Member = tuple[str, int, int]
"""Name, offset and size of the content in bytes."""


@dataclass(frozen=True, eq=False)
class Tars:
    """Members of tar files."""

    paths: Sequence[Path]
    names: Sequence[str]
    """Path of the tar file relative to the common folder, and name of the member."""
    spans: NDArray[np.int64]
    """The index of the tar file, offset and size in bytes of each item; (n, 3)."""
    files: Sequence[str]
    """The path of each tar file relative to the common folder."""
    digest: str
    kind = "tar"

    def __len__(self) -> int:
        return len(self.names)

    def key(self, item: int) -> str:
        return self.names[item]

    def read(self, item: int) -> BytesRecord:
        return BytesRecord(self.names[item], int(self.spans[item, 2]), partial(self.start, item))

    def start(self, item: int, count: int) -> bytes:
        """The first `count` bytes of an item.

        Raises:
            BadItem: the item has fewer bytes, is too large, or cannot be read.
        """
        tar, offset, size = self.spans[item].tolist()
        name = self.names[item]
        if size > ITEM:
            raise BadItem(f"{printable(name)} has {size:,} bytes.", f"Expected at most {ITEM:,}.", "")
        try:
            # Opened each time, since thousands of tar files would exceed the limit of open files.
            with open_file(self.paths[tar]) as file:
                file.seek(offset)
                content = file.read(count) or b""
        except (OSError, MemoryError) as error:
            raise read_error(name, error) from error
        if len(content) < count:
            raise BadItem(f"{printable(name)} is truncated: its tar file is too short.", "", "")
        return content

    def label_names(self) -> Sequence[str]:
        return list(self._label_columns())

    def labels(self, name: str) -> Sequence[str | None]:
        return self._label_columns()[name]

    def _label_columns(self) -> dict[str, list[str | None]]:
        tars = self.spans[:, 0].tolist()
        names = [name.removeprefix(f"{self.files[tar]}/") for name, tar in zip(self.names, tars, strict=True)]
        notes = [annotations(path) for path in self.paths]
        own = [notes[tar].get(sample(name)[0], {}) for name, tar in zip(names, tars, strict=True)]
        return {**name_columns(names, contents=False), **annotation_columns(own)}


def tars_of(root: Path, files: Sequence[str], wanted: RecordFormat, note: Callable[[str, str], None]) -> Tars:
    """The items in tar files, in the order of files and members.

    The index of a tar file is cached in the user's cache folder until the file changes.

    Args:
        root: the common folder.
        files: the paths of the tar files relative to it.
        wanted: the suffixes of members with items.
        note: called with the name and the problem of each damaged file; members before the damage are used.
    """
    names: list[str] = []
    spans: list[tuple[int, int, int]] = []
    paths = [root / file for file in files]
    question = f"{wanted.items} whole in a tar"
    for i, (file, path) in enumerate(zip(files, paths, strict=True)):
        try:
            listed, damage = cached_result(path, question, partial(members, path, wanted.suffixes))
        except OSError as error:
            listed, damage = [], f"it cannot be opened: {error.strerror}"
        if damage:
            note(file, f"{printable(file)} is damaged, and used up to the damage only: {printable(damage)}.")
        names += [f"{file}/{name}" for name, _, _ in listed]
        spans += [(i, offset, size) for _, offset, size in listed]
    sizes: list[Listed] = [(name, size) for name, (_, _, size) in zip(names, spans, strict=True)]
    return Tars(paths, names, np.array(spans, np.int64).reshape(-1, 3), files, digest_of(sizes))


def members(path: Path, suffixes: frozenset[str]) -> tuple[list[Member], str]:
    """The items in a tar file, and a description of damage, or an empty string.

    Members are chosen by their last suffix. If a sample has several such members, `7.jpg` and `7.mask.png`, only those
    with a single suffix are items: the others are annotations.
    """
    items: list[Member] = []
    damage = ""
    try:
        size, reached = path.stat().st_size, 0
        with open_file(path) as whole, tarfile.open(path, "r:", whole, tarinfo=Header) as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # do not keep all headers in memory
                if tar.offset <= reached:
                    raise tarfile.ReadError(f"the header at byte {member.offset:,} points backwards")
                reached = tar.offset
                if (
                    member.isreg()
                    and not member.issparse()
                    and is_item(member.name, suffixes)
                    and fits_in(member, size)
                ):
                    items.append((member.name, member.offset_data, member.size))
            end = tar.offset
        with open_file(path) as file:
            file.seek(end)
            if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
                damage = f"the bytes at {end:,} are not a header"
    except RecursionError:
        damage = "too many nested headers"
    except (tarfile.TarError, ValueError, OverflowError, EOFError, LookupError, MemoryError) as error:
        damage = str(error) or type(error).__name__
    return without_companions(items), damage


def annotations(path: Path) -> dict[str, dict[str, bytes]]:
    """The contents of the members of a tar file with labels: by sample, and by suffix without the dot.

    Raises:
        NoTrainingData: the file cannot be read.
    """
    found: dict[str, dict[str, bytes]] = {}
    try:
        listed, _ = cached_result(path, "labels and captions in a tar", partial(members, path, ANNOTATIONS))
        with open_file(path) as file:
            for name, offset, size in listed:
                if size <= LARGEST_ANNOTATION:
                    file.seek(offset)
                    key, suffix = sample(name)
                    found.setdefault(key, {})[suffix.rpartition(".")[2].lower()] = file.read(size)
    except OSError as error:
        raise NoTrainingData(f"{path} cannot be read: {reason_of(error)}.", "", remedy_for(error)) from error
    return found


class Header(tarfile.TarInfo):
    """A tar header whose size is validated: tarfile would read any number of bytes, and seek backwards if it is
    negative."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "Header":
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.type in EXTENSIONS and header.size > LARGEST_EXTENSION):
            raise tarfile.HeaderError(f"a header announces {header.size:,} bytes")
        return header


def fits_in(member: tarfile.TarInfo, size: int) -> bool:
    """Whether a member lies within a file of `size` bytes."""
    return 0 <= member.size <= size - member.offset_data


def is_tar(start: bytes) -> bool:
    """Whether a file with these first bytes is a tar file: they are a valid header."""
    try:
        Header.frombuf(start[: tarfile.BLOCKSIZE], tarfile.ENCODING, "surrogateescape")
    except (tarfile.TarError, ValueError):
        return False
    return True


def is_item(name: str, suffixes: frozenset[str]) -> bool:
    """Whether a member has one of the suffixes and is not hidden."""
    last = PurePosixPath(name)
    return last.suffix.lower() in suffixes and not last.name.startswith(".")


def without_companions(members: Sequence[Member]) -> list[Member]:
    """The members without those of several suffixes whose sample has a member with a single suffix.

    >>> without_companions([("a/7.jpg", 0, 1), ("a/7.mask.png", 512, 1), ("a/8.x.png", 1024, 1)])
    [('a/7.jpg', 0, 1), ('a/8.x.png', 1024, 1)]
    """
    single = {sample(name)[0] for name, _, _ in members if sample(name)[1].count(".") == 0}
    return [each for each in members if sample(each[0])[1].count(".") == 0 or sample(each[0])[0] not in single]


def sample(name: str) -> tuple[str, str]:
    """The sample of a file, and its suffixes: everything after the first dot, as in WebDataset."""
    folder, _, last = name.rpartition("/")
    key, _, suffixes = last.partition(".")
    return f"{folder}/{key}", suffixes


def expanded(pattern: str) -> list[Path]:
    """Expand a pattern with ranges in braces into paths.

    >>> [path.name for path in expanded("data-{08..11}.tar")]
    ['data-08.tar', 'data-09.tar', 'data-10.tar', 'data-11.tar']

    Raises:
        ValueError: the text in braces is not a range, or the range has more than a million numbers.
    """
    before, brace, rest = pattern.partition("{")
    if not brace:
        return [Path(pattern)]
    inside, closing, after = rest.partition("}")
    first, dots, last = inside.partition("..")
    if not (closing and dots and first.isdecimal() and last.isdecimal()):
        raise ValueError(f"{{{inside}}} is not a range such as {{000..012}}")
    if int(last) - int(first) > 1_000_000:
        raise ValueError(f"{{{inside}}} is too long a range")
    numbers = [f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1)]
    return [path for number in numbers for path in expanded(f"{before}{number}{after}")]


def gather_tars(root: Path, files: Sequence[Listed], title: str, wanted: RecordFormat, log: SkipLog) -> Tars:
    """Open the tar files of a folder."""
    del title
    return tars_of(root, [name for name, _ in files], wanted, log.note)


def open_tars(path: Path, wanted: RecordFormat, log: SkipLog, paths: Sequence[Path] | None = None) -> Splits:
    """Open one tar file, or several given `paths`."""
    paths = paths or [path]
    root = os.path.commonpath([each.parent for each in paths])
    return Splits(tars_of(Path(root), [os.path.relpath(each, root) for each in paths], wanted, log.note))


def refuse_packed(path: Path, wanted: RecordFormat, log: SkipLog) -> Splits:
    """Reject a compressed tar file, which has no random access.

    Raises:
        NoTrainingData: always.
    """
    del log
    raise NoTrainingData(
        f"{path} is a compressed tar file.",
        f"Random access to its {wanted.items} is not possible.",
        "Decompress or extract it.",
    )


TARS = Source(
    about="WebDataset tars (one, a folder of them, or data-{{000..012}}.tar)",
    yields=BytesRecord,
    claims=lambda path, start: not path.is_dir() and (path.suffix.lower() in SUFFIXES or is_tar(start)),
    open=open_tars,
    plural="tars",
    suffixes=lambda _: SUFFIXES,
    gather=gather_tars,
)
PACKED_TAR = Source(
    about="",
    yields=BytesRecord,
    claims=lambda path, start: start.startswith(PACKED) and bool(PACKED_NAME.search(path.name)),
    open=refuse_packed,
)

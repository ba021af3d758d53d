"""Tar files with one item in a member, as WebDataset makes them: listed once, read at any place, never unpacked."""

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
from vaekit.datasets.listing import Listed, digest_of
from vaekit.datasets.read_errors import read_error
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.source import Source
from vaekit.errors import BadItem, NoTrainingData, printable

LARGEST_MEMBER = 2**31
"""Bytes. No item is larger."""
LARGEST_EXTENSION = 2**16
"""Bytes that a long name, or what else is told of a member ahead of it, may take."""
PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
"""How files begin that gzip, bzip2, xz or zstd wrote."""
PACKED_NAME = re.compile(r"tar|\.(tgz|tbz2?|txz|tzst)$", re.IGNORECASE)
SUFFIXES = frozenset({".tar"})
EXTENSIONS = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)
"""Types of headers that tarfile reads the content of."""

Member = tuple[str, int, int]
"""Name, where its bytes begin, how many they are."""


@dataclass(frozen=True, eq=False)
class Tars:
    """Members of tar files."""

    paths: Sequence[Path]
    names: Sequence[str]
    """With that of the tar in front, as it is below the folder of all."""
    places: NDArray[np.int64]
    """Of each item: the index of its tar, where its bytes begin, how many they are; (n, 3)."""
    digest: str
    kind = "tar"

    def __len__(self) -> int:
        return len(self.names)

    def key(self, item: int) -> str:
        return self.names[item]

    def read(self, item: int) -> BytesRecord:
        return BytesRecord(self.names[item], int(self.places[item, 2]), partial(self.start, item))

    def start(self, item: int, count: int) -> bytes:
        """The first bytes of an item.

        Raises:
            BadItem: it has fewer, or more than any item.
        """
        tar, offset, size = self.places[item].tolist()
        name = self.names[item]
        if size > LARGEST_MEMBER:
            raise BadItem(f"{printable(name)} has {size:,} bytes.", "No item has as many.", "")
        try:
            # Opened each time: thousands of tars would take all the files that a process may have open.
            with open(self.paths[tar], "rb", buffering=0) as file:
                file.seek(offset)
                content = file.read(count) or b""
        except (OSError, MemoryError) as error:
            raise read_error(name, error) from error
        if len(content) < count:
            raise BadItem(f"{printable(name)} is cut short: its tar ends before it does.", "", "")
        return content


def tars_of(root: Path, files: Sequence[str], wanted: RecordFormat, note: Callable[[str, str], None]) -> Tars:
    """The items in tar files, in the order of the files and of the members in them.

    The list of a tar is kept in the user's cache, until the file changes.

    Args:
        root: the folder of all.
        files: the tars, as they are called in it and below it.
        wanted: the suffixes of members that hold items.
        note: told the name of each that is damaged, and why; what comes before the damage is used.
    """
    names: list[str] = []
    places: list[tuple[int, int, int]] = []
    paths = [root / file for file in files]
    question = f"{wanted.items} whole in a tar"
    for i, (file, path) in enumerate(zip(files, paths, strict=True)):
        try:
            listed, damage = cached_result(path, question, partial(members, path, wanted.suffixes))
        except OSError as error:
            listed, damage = [], f"it cannot be opened: {error.strerror}"
        if damage:
            note(file, f"{printable(file)} is not used from its first fault on: {printable(damage)}.")
        names += [f"{file}/{name}" for name, _, _ in listed]
        places += [(i, offset, size) for _, offset, size in listed]
    sizes: list[Listed] = [(name, size) for name, (_, _, size) in zip(names, places, strict=True)]
    return Tars(paths, names, np.array(places, np.int64).reshape(-1, 3), digest_of(sizes))


def members(path: Path, suffixes: frozenset[str]) -> tuple[list[Member], str]:
    """The items in a tar; and what is wrong with the tar, or nothing.

    Names count by their last suffix. Where a sample has several such members, `7.jpg` and `7.mask.png`, only those
    with a single suffix are taken: the others are annotations of the sample.
    """
    found: list[Member] = []
    damage = ""
    try:
        size, reached = path.stat().st_size, 0
        with tarfile.open(path, "r:", tarinfo=Header) as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep all of them
                if tar.offset <= reached:
                    raise tarfile.ReadError(f"the header at byte {member.offset:,} leads back")
                reached = tar.offset
                if (
                    member.isreg()
                    and not member.issparse()
                    and is_item(member.name, suffixes)
                    and fits_in(member, size)
                ):
                    found.append((member.name, member.offset_data, member.size))
            end = tar.offset
        with open(path, "rb") as file:
            file.seek(end)
            if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
                damage = f"the bytes at {end:,} are no header"
    except RecursionError:
        damage = "headers without end belong to one member"
    except (tarfile.TarError, ValueError, OverflowError, EOFError, LookupError, MemoryError) as error:
        damage = str(error) or type(error).__name__
    return without_companions(found), damage


class Header(tarfile.TarInfo):
    """A header of a tar whose size is checked first: tarfile reads as much as the header claims, and goes back in the
    file where that is negative."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "Header":
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.type in EXTENSIONS and header.size > LARGEST_EXTENSION):
            raise tarfile.HeaderError(f"a header claims {header.size:,} bytes")
        return header


def fits_in(member: tarfile.TarInfo, size: int) -> bool:
    """Whether all of it is in a tar of so many bytes."""
    return 0 <= member.size <= size - member.offset_data


def is_tar(start: bytes) -> bool:
    """Whether a file that begins with these bytes is a tar: it begins with a header."""
    try:
        Header.frombuf(start[: tarfile.BLOCKSIZE], tarfile.ENCODING, "surrogateescape")
    except (tarfile.TarError, ValueError):
        return False
    return True


def is_item(name: str, suffixes: frozenset[str]) -> bool:
    """Whether a member has one of the suffixes, and is not hidden."""
    last = PurePosixPath(name)
    return last.suffix.lower() in suffixes and not last.name.startswith(".")


def without_companions(found: Sequence[Member]) -> list[Member]:
    """Without members of several suffixes whose sample has one with a single suffix.

    >>> without_companions([("a/7.jpg", 0, 1), ("a/7.mask.png", 512, 1), ("a/8.x.png", 1024, 1)])
    [('a/7.jpg', 0, 1), ('a/8.x.png', 1024, 1)]
    """
    single = {sample(name)[0] for name, _, _ in found if sample(name)[1].count(".") == 0}
    return [each for each in found if sample(each[0])[1].count(".") == 0 or sample(each[0])[0] not in single]


def sample(name: str) -> tuple[str, str]:
    """The sample that a file belongs to, and its suffixes: WebDataset's rule, all behind the first dot."""
    folder, _, last = name.rpartition("/")
    key, _, suffixes = last.partition(".")
    return f"{folder}/{key}", suffixes


def expanded(pattern: str) -> list[Path]:
    """The paths that a pattern with one or more ranges in braces means.

    >>> [path.name for path in expanded("data-{08..11}.tar")]
    ['data-08.tar', 'data-09.tar', 'data-10.tar', 'data-11.tar']

    Raises:
        ValueError: what stands in braces is no range, or one of more than a million.
    """
    before, brace, rest = pattern.partition("{")
    if not brace:
        return [Path(pattern)]
    inside, closing, after = rest.partition("}")
    first, dots, last = inside.partition("..")
    if not (closing and dots and first.isdecimal() and last.isdecimal()):
        raise ValueError(f"{{{inside}}} is no range such as {{000..012}}")
    if int(last) - int(first) > 1_000_000:
        raise ValueError(f"{{{inside}}} is too long a range")
    numbers = [f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1)]
    return [path for number in numbers for path in expanded(f"{before}{number}{after}")]


def gather_tars(root: Path, files: Sequence[Listed], title: str, wanted: RecordFormat, log: SkipLog) -> Tars:
    """The items in the tars of a folder."""
    del title
    return tars_of(root, [name for name, _ in files], wanted, log.note)


def open_tars(path: Path, wanted: RecordFormat, log: SkipLog, paths: Sequence[Path] | None = None) -> Splits:
    """The items in one tar, or in those that a pattern names."""
    paths = paths or [path]
    root = os.path.commonpath([each.parent for each in paths])
    return Splits(tars_of(Path(root), [os.path.relpath(each, root) for each in paths], wanted, log.note))


def refuse_packed(path: Path, wanted: RecordFormat, log: SkipLog) -> Splits:
    """A packed tar cannot be read at any place.

    Raises:
        NoTrainingData: always.
    """
    del log
    raise NoTrainingData(
        f"{path} is a packed tar.",
        f"Its {wanted.items} cannot be read at any place.",
        "Unpack it, or make it a plain tar.",
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

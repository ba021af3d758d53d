"""Open files of music: MIDI, tunes in ABC, chorales in JSON and npz, and folders of these, as data sets of pieces."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from vaekit.datasets.dataset import Parsed, Record, RecordFormat, Splits
from vaekit.datasets.open import refuse_run_folder
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.files import files_among, not_found
from vaekit.domains.music import abc_files, midi_files
from vaekit.domains.music.chorales import MOST_BYTES as MOST_CHORALE_BYTES
from vaekit.domains.music.chorales import Chorales, read_json, read_npz
from vaekit.domains.music.pieces import Piece
from vaekit.errors import BadItem, NotFound, NoTrainingData, printable, reason_of, remedy_for
from vaekit.reading import exists, read_bytes

MIDI_SUFFIXES = (".mid", ".midi", ".kar")
READERS: dict[str, Callable[[bytes, str], Chorales]] = {".json": read_json, ".npz": read_npz}
"""Of files with many pieces in splits, by suffix."""
SUFFIXES = frozenset((*MIDI_SUFFIXES, ".abc", *READERS))
FORMAT = RecordFormat("music", (Parsed,), SUFFIXES)
EXPECTED = "Expected MIDI files (.mid), tunes in ABC notation (.abc), chorales (.json, .npz), or folders of these."


@dataclass(frozen=True)
class Entry:
    """A piece in a file."""

    path: Path
    name: str
    """The file's, relative to the data set."""
    number: int = 0
    """Among the pieces of the file, from 1; 0 for the only one."""
    split: str = ""

    @property
    def key(self) -> str:
        """Its name in the data set."""
        return f"{self.name}:{self.number}" if self.number else self.name


@dataclass(frozen=True, eq=False)
class Pieces:
    """Pieces of music in files, read one at a time; records are `Parsed` with a `Piece`."""

    entries: tuple[Entry, ...]
    digest: str
    kind: str = "music"

    def __len__(self) -> int:
        return len(self.entries)

    def key(self, item: int) -> str:
        return self.entries[item].key

    def read(self, item: int) -> Record:
        entry = self.entries[item]
        piece = pieces_in(entry.path, entry.name, _version(entry.path)).get(entry.split, ())[max(entry.number - 1, 0)]
        if isinstance(piece, BadItem):
            raise piece
        return Parsed(entry.key, piece)


def open_music(path: Path, log: SkipLog) -> Splits:
    """The pieces at a path.

    Raises:
        NotFound: it does not exist.
        NoTrainingData: it holds no music, or is the folder of the run itself.
    """
    refuse_run_folder(path, log)
    if not exists(path):
        raise not_found(path)
    try:
        files = files_among([path], SUFFIXES, "music")
    except NotFound as error:
        raise NoTrainingData(f"{path} holds no music.", EXPECTED, "Check the path.") from error
    if path.is_file() and path.suffix.lower() not in SUFFIXES:
        raise NoTrainingData(f"{path} is no file of music by its name.", EXPECTED, "Check the path.")
    train, test, hashed = list[Entry](), list[Entry](), hashlib.sha256()
    for file in files:
        name = file.name if path.is_file() else file.relative_to(path).as_posix()
        try:
            found = entries_of(file, name, hashed.update)
        except (BadItem, OSError) as error:
            reason = f"{name}: {reason_of(error)}" if isinstance(error, OSError) else str(error)
            if len(files) == 1:
                remedy = remedy_for(error) if isinstance(error, OSError) else ""
                raise NoTrainingData(f"{file} cannot be read: {printable(reason, 300)}", EXPECTED, remedy) from error
            log.note(name, reason)
            continue
        for entry in found:
            (test if entry.split == "test" else train).append(entry)
    if not train:
        train, test = test, []
    if not train:
        raise NoTrainingData(f"{path} holds no piece of music that can be read.", EXPECTED, "Check the path.")
    digest = hashed.hexdigest()
    return Splits(Pieces(tuple(train), digest), Pieces(tuple(test), digest) if test else None)


def entries_of(path: Path, name: str, update: Callable[[bytes], None]) -> Sequence[Entry]:
    """The pieces of a file; a MIDI file is only hashed.

    Raises:
        BadItem, OSError: it cannot be read.
    """
    suffix = path.suffix.lower()
    limit = limit_of(suffix)
    update(f"{name}\n".encode("utf-8", "surrogateescape") + hashlib.sha256(read_bytes(path, limit)).digest())
    if suffix in MIDI_SUFFIXES:
        return [Entry(path, name)]
    found = pieces_in(path, name, _version(path))
    return [Entry(path, name, number, split) for split, each in found.items() for number in range(1, len(each) + 1)]


def limit_of(suffix: str) -> int:
    """The maximum number of bytes of a file with this suffix."""
    if suffix in READERS:
        return MOST_CHORALE_BYTES
    return midi_files.MOST_BYTES if suffix in MIDI_SUFFIXES else abc_files.MOST_BYTES


@lru_cache(maxsize=16)
def pieces_in(path: Path, name: str, version: tuple[int, int]) -> Chorales:
    """The pieces of a file by split; errors in the place of those that cannot be read.

    Raises:
        BadItem: none can be read.
    """
    del version
    suffix = path.suffix.lower()
    limit = limit_of(suffix)
    try:
        content = read_bytes(path, limit)
    except OSError as error:
        raise BadItem(f"{printable(name)} cannot be read: {reason_of(error)}.", "", remedy_for(error)) from error
    if suffix in MIDI_SUFFIXES:
        return {"": [midi_files.read_midi(content, name)]}
    if suffix in READERS:
        return READERS[suffix](content, name)
    tunes: list[Piece | BadItem] = abc_files.read_abc(content.decode("utf-8", "replace"), name)
    if not tunes:
        raise BadItem(f"{printable(name)} has no tune in ABC notation.", "Expected a line X: before each.", "")
    return {"": tunes}


def _version(path: Path) -> tuple[int, int]:
    """What changes with the content of a file."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size

"""Read chorales as models of polyphony are compared on them (Allan and Williams 2005; Boulanger-Lewandowski et al.
2012): lists of the pitches that sound in each step, by split, in JSON, or in arrays of an npz file.

Such files do not have the starts of notes: a pitch that sounds in consecutive steps of a voice is one note. How long a
step is follows from the name of the file: "quarter", "8th" or "16th"; without one of these it is a 16th.
"""

import io
import json
import mmap
import re
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vaekit.domains.music.pieces import MOST_NOTES, Note, Part, Piece, check_size
from vaekit.errors import BadItem, printable
from vaekit.formats.pickle_machine import Window, unpickle
from vaekit.formats.pickle_values import Builder, Stateful

MOST_BYTES = 2**27
"""Of a file, unpacked."""
STEPS = {"quarter": 1, "8th": 2, "16th": 4}
"""Steps of a quarter note by a part of the file's name."""
SPLITS = ("train", "valid", "test")
Chorales = dict[str, Sequence[Piece | BadItem]]
"""Pieces by split; "" where there are no splits."""


def read_json(content: bytes, source: str) -> Chorales:
    """The pieces of a JSON file: lists of steps, each a list of pitches, by split.

    Raises:
        BadItem: it is something else.
    """
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadItem(f"{printable(source)} is no JSON.", "Expected lists of pitches by split.", "") from error
    value = value if isinstance(value, Mapping) else {"": value}
    if not all(isinstance(pieces, list) for pieces in value.values()):
        raise BadItem(f"{printable(source)} has no lists of pieces.", "Expected lists of pitches by split.", "")
    return by_split(value, source)


def read_npz(content: bytes, source: str) -> Chorales:
    """The pieces of an npz file with an array of arrays (steps, voices) by split; NaN are rests. The pickles inside are
    read without anything that a pickle could run.

    Raises:
        BadItem: it is something else.
    """
    found: dict[str, Sequence[Any]] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [each for each in archive.infolist() if each.filename.endswith(".npy")]
            if sum(each.file_size for each in members) > MOST_BYTES:
                raise ValueError("it unpacks to too much")
            for member in members:
                found[member.filename.removesuffix(".npy")] = array_of_arrays(archive.read(member))
    except Exception as error:  # damaged archives and pickles raise those of any kind
        raise BadItem(
            f"{printable(source)} cannot be read: {printable(str(error) or type(error).__name__)}.",
            "Expected arrays of arrays (steps, voices) by split.",
            "",
        ) from error
    return by_split(found, source)


def array_of_arrays(content: bytes) -> Sequence[Any]:
    """The lists of lists in an npy file."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if not dtype.hasobject:
        return [each.tolist() for each in np.frombuffer(file.read(), dtype).reshape(shape)]
    pieces = unpickled(file.read())
    if not isinstance(pieces, StoredArray):
        raise ValueError("it holds no array of pieces")
    return [each.values for each in pieces.values if isinstance(each, StoredArray)]


class StoredDtype(Stateful):
    """`numpy.dtype`."""

    def __init__(self, format: object = None, *_: object) -> None:
        self.format = format if isinstance(format, str) and re.fullmatch(r"[fiu][1248]|O8?", format) else None
        self.order = "="

    def set_state(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.order = state[1]


class StoredArray(Stateful):
    """`numpy.ndarray`, as lists."""

    def __init__(self, *_: object) -> None:
        self.values: list[Any] = []

    def set_state(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("an array with an invalid state")
        _, shape, dtype, fortran, content = state
        content = content.encode("latin-1") if isinstance(content, str) else content  # bytes of Python 2
        if isinstance(content, list):
            self.values = content
        elif isinstance(dtype, StoredDtype) and dtype.format and isinstance(content, bytes):
            values = np.frombuffer(content, np.dtype(dtype.order + dtype.format))
            self.values = values.reshape(shape, order="F" if fortran else "C").tolist()


BUILDERS: dict[str, Builder] = {
    "numpy.dtype": StoredDtype,
    "numpy.core.multiarray._reconstruct": StoredArray,
    "numpy._core.multiarray._reconstruct": StoredArray,
}


def unpickled(content: bytes) -> object:
    """The value of a pickle, whose arrays are `StoredArray`."""
    with mmap.mmap(-1, max(len(content), 1)) as mapped:
        mapped.write(content)
        return unpickle(Window(mapped, 0, len(content)), BUILDERS, lambda _: None, "the array")


def by_split(value: Mapping[str, Sequence[Any]], source: str) -> Chorales:
    """Pieces by split, those for validation among the ones to train on."""
    per_quarter = next((count for text, count in STEPS.items() if text in source.lower()), 4)
    found: dict[str, list[Piece | BadItem]] = {}
    for split in sorted(value, key=lambda name: (name not in SPLITS, name)):
        pieces = value[split]
        place = "test" if split == "test" else ""
        for number, steps in enumerate(pieces, 1):
            name = f"{source}:{split or 'piece'} {number}"
            try:
                found.setdefault(place, []).append(check_size(piece_of(steps, name, per_quarter), name))
            except BadItem as error:
                found.setdefault(place, []).append(error)
            except (ValueError, TypeError, OverflowError) as error:
                reason = printable(str(error))
                found.setdefault(place, []).append(BadItem(f"{name} is no list of pitches: {reason}.", "", ""))
    if not any(found.values()):
        raise BadItem(f"{printable(source)} has no pieces.", "Expected lists of pitches by split.", "")
    return dict(found)


def piece_of(steps: Sequence[Any], name: str, per_quarter: int) -> Piece:
    """The piece of a list of steps. Voices are columns if all steps that are not empty have equally many pitches.

    Raises:
        ValueError, TypeError: a step is no list of pitches.
    """
    rows = [[pitch_of(value) for value in step] for step in steps]
    if sum(map(len, rows)) > 8 * MOST_NOTES:
        raise ValueError("it has too many pitches")
    counts = {len(row) for row in rows if row}
    if len(counts) == 1:
        width = counts.pop()
        columns = [[row[column] if row else None for row in rows] for column in range(width)]
        parts = [Part(f"voice {number}", notes_of_voice(column)) for number, column in enumerate(columns, 1)]
    else:
        parts = [Part("", notes_of_sets([{value for value in row if value is not None} for row in rows]))]
    if not any(part.notes for part in parts):
        raise ValueError("nothing sounds")
    return Piece(name, per_quarter, tuple(part for part in parts if part.notes))


def pitch_of(value: Any) -> int | None:
    """A pitch, or None for a rest: a negative number, or NaN."""
    if value is None or value != value or value < 0:
        return None
    if isinstance(value, bool) or value != int(value) or value > 127:
        raise ValueError(f"{value!r} is no pitch")
    return int(value)


def notes_of_voice(pitches: Sequence[int | None]) -> tuple[Note, ...]:
    """Equal consecutive pitches as one note."""
    return notes_of_sets([set() if pitch is None else {pitch} for pitch in pitches])


def notes_of_sets(sets: Sequence[set[int]]) -> tuple[Note, ...]:
    """Pitches that are in consecutive sets as one note."""
    notes, sounding = list[Note](), dict[int, int]()
    for step, pitches in enumerate([*sets, set[int]()]):
        for pitch in [pitch for pitch in sounding if pitch not in pitches]:
            notes.append(Note(sounding.pop(pitch), step, pitch))
        for pitch in pitches - sounding.keys():
            sounding[pitch] = step
    return tuple(sorted(notes))

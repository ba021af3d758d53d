"""Pieces of music as their files have them: notes in ticks, in parts, with meters and tempos."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

from vaekit.errors import BadItem, printable

MOST_NOTES = 2**18
"""Of a piece."""
MOST_HOURS = 10
"""Of a piece, at its tempo."""
TEMPO = 120.0
"""Quarter notes per minute where a file has none, as in MIDI."""


class Meter(NamedTuple):
    """A time signature."""

    beats: int
    unit: int
    """The note value of a beat: 4 is a quarter."""

    def __str__(self) -> str:
        return f"{self.beats}/{self.unit}"


COMMON = Meter(4, 4)
"""Where a file has none."""
MOST_BEATS, MOST_UNIT = 64, 64


def meter_of(text: str) -> Meter:
    """The meter of a text such as "6/8".

    Raises:
        ValueError: it is none.
    """
    beats, slash, unit = text.partition("/")
    if not (slash and beats.isdecimal() and unit.isdecimal() and len(text) < 8):
        raise ValueError(f"{text[:20]!r} is no meter, such as 4/4")
    return checked_meter(int(beats), int(unit))


def checked_meter(beats: int, unit: int) -> Meter:
    """A meter.

    Raises:
        ValueError: its numbers make no sense.
    """
    if not 1 <= beats <= MOST_BEATS or not 1 <= unit <= MOST_UNIT or unit & (unit - 1):
        raise ValueError(f"{beats}/{unit} is no meter")
    return Meter(beats, unit)


class Note(NamedTuple):
    """A note that sounds from a tick to another one."""

    start: int
    end: int
    pitch: int
    """0 to 127; 60 is middle C. Of drums, the instrument."""


@dataclass(frozen=True)
class Part:
    """What one instrument plays."""

    name: str
    notes: tuple[Note, ...]
    """By start."""
    drums: bool = False
    chords: bool = False
    """Whether these are the lower notes of chords in another part, and no line of their own."""


@dataclass(frozen=True)
class Piece:
    """A piece of music."""

    name: str
    """For people: the title, or the name of the file."""
    resolution: int
    """Ticks per quarter note."""
    parts: tuple[Part, ...]
    meters: tuple[tuple[int, Meter], ...] = ((0, COMMON),)
    """By the tick at which they start, the first at 0."""
    tempos: tuple[tuple[int, float], ...] = ((0, TEMPO),)
    """Quarter notes per minute by the tick at which they start, the first at 0."""
    remarks: tuple[str, ...] = ()
    """What of the file was changed or left out, for people."""

    @property
    def end(self) -> int:
        """The tick at which the last note ends."""
        return max((note.end for part in self.parts for note in part.notes), default=0)


def check_size(piece: Piece, source: str) -> Piece:
    """A piece, if it is not too large.

    Raises:
        BadItem: it has too many notes, or lasts too long.
    """
    notes = sum(len(part.notes) for part in piece.parts)
    if notes > MOST_NOTES:
        raise BadItem(f"{printable(source)} has {notes:,} notes.", f"A piece has at most {MOST_NOTES:,}.", "")
    hours = seconds(piece) / 3600
    if hours > MOST_HOURS:
        raise BadItem(
            f"{printable(source)} claims to last {hours:,.0f} hours.",
            f"A piece lasts at most {MOST_HOURS} hours.",
            "The file is damaged, or no piece of music.",
        )
    return piece


def seconds(piece: Piece) -> float:
    """The duration of a piece, 120 quarter notes per minute where its own tempo is faster than that."""
    end = piece.end
    starts = [*(min(tick, end) for tick, _ in piece.tempos), end]
    return sum(
        (after - before) / piece.resolution * 60 / min(tempo, TEMPO)
        for before, after, (_, tempo) in zip(starts, starts[1:], piece.tempos, strict=False)
    )


def at_tick(values: Sequence[tuple[int, Any]], tick: int) -> int:
    """The place of the value that is valid at a tick, among values by the tick at which they start."""
    return max(bisect_right(values, tick, key=itemgetter(0)) - 1, 0)

"""Pieces on a grid of equal steps: what starts in each step, where bars are, and which bars do not fit."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from statistics import fmean
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vaekit.domains.music.excerpts import DRUM_CLASS, DRUMS, HOLD, MELODY, POLYPHONY, REST, Excerpt
from vaekit.domains.music.pieces import Note, Part, Piece, at_tick
from vaekit.errors import BadItem, printable

TOLERANCE = 0.1
"""Steps that a note may be beside the grid without being called moved."""
MOST_BARS = 2**17
"""Of a piece."""
PITCHES = 128
MOST_CHORDS = 0.5
"""The share of bars with several notes at once above which a part is no melody."""


class GridBar(NamedTuple):
    """A bar."""

    start: int
    """Its first step."""
    size: int
    """Steps."""
    meter: str
    tempo: float


@dataclass(frozen=True, eq=False)
class Grid:
    """A line of music, or several, in steps."""

    name: str
    """Of the piece and part, for people."""
    kind: str
    per_quarter: int
    values: NDArray[np.int16]
    """(n, voices), as in `Excerpt.steps`."""
    sounding: NDArray[np.int16]
    """(n, voices): the pitch that sounds in each step, or `REST`."""
    bars: tuple[GridBar, ...]
    problems: Mapping[int, str] = field(default_factory=dict)
    """Why bars do not fit, by their number from 0."""
    moved: Mapping[int, int] = field(default_factory=dict)
    """The number of notes that were moved to the grid, by bar."""

    def excerpt(self, first: int, count: int) -> Excerpt:
        """The bars from `first` on, `count` of them, the missing ones as rests. A note that sounds on from the bar
        before starts again."""
        bars = self.bars[first : first + count]
        start, end = bars[0].start, bars[-1].start + bars[-1].size
        steps = self.values[start:end].copy()
        held = (steps[:1] == HOLD).nonzero()
        steps[held] = self.sounding[start : start + 1][held]
        missing = (count - len(bars)) * bars[0].size
        rest = 0 if self.kind == DRUMS else REST
        steps = np.pad(steps, ((0, missing), (0, 0)), constant_values=rest)
        return Excerpt(self.kind, bars[0].meter, bars[0].tempo, tuple(map(tuple, steps.tolist())), self.per_quarter)

    def whole(self) -> Excerpt:
        """All bars, until the last note ends."""
        excerpt = self.excerpt(0, len(self.bars))
        sounding = (self.sounding != REST).any(axis=1).nonzero()[0]
        return replace(excerpt, steps=excerpt.steps[: int(sounding[-1]) + 1])

    def problem(self, first: int, count: int, whole: bool = False) -> str:
        """Why these bars do not fit; empty if they do. In a whole piece, the meter may change."""
        bars = self.bars[first : first + count]
        for number in range(first, first + len(bars)):
            if number in self.problems:
                return f"bar {number + 1} of {self.name} {self.problems[number]}"
        if not whole and len({bar.meter for bar in bars}) > 1:
            return f"the meter of {self.name} changes in bars {first + 1} to {first + count}"
        return ""

    def silent(self, first: int, count: int) -> bool:
        """Whether nothing sounds in these bars."""
        bars = self.bars[first : first + count]
        return bool((self.sounding[bars[0].start : bars[-1].start + bars[-1].size] == REST).all())


def grids_of(piece: Piece, kind: str, voices: int, per_quarter: int) -> tuple[list[Grid], list[str]]:
    """The lines of a piece, and what was left out: of melodies one for each part that is one; else one of all parts.

    Args:
        piece: the piece.
        kind: of excerpts.
        voices: of polyphony and rolls.
        per_quarter: steps of a quarter note.
    """
    parts = [part for part in piece.parts if part.drums == (kind == DRUMS) and part.notes]
    left_out: list[str] = []
    if kind != MELODY:
        lines = [parts] if parts else []
    else:
        lines = [[part] for part in parts if not part.chords]
        left_out += [f"lower notes of chords in {printable(piece.name)}" for part in parts if part.chords]
    grids = []
    for line in lines:
        placing = Placing(piece, line, kind, voices if kind not in (MELODY, DRUMS) else 1, per_quarter)
        grid = placing.grid(piece.name if len(lines) == 1 else part_name(piece, line[0]))
        overlaps = len(placing.overlapping) / max(1, len(grid.bars))
        if kind == MELODY and overlaps > MOST_CHORDS:
            left_out.append(f"{grid.name}, which has several notes at once in {overlaps:.0%} of its bars")
        else:
            grids.append(grid)
    if not parts:
        left_out.append(f"{printable(piece.name)}, which has no {'drums' if kind == DRUMS else 'pitched notes'}")
    return grids, left_out


def part_name(piece: Piece, part: Part) -> str:
    """The name of a part for people."""
    number = next(place for place, each in enumerate(piece.parts, 1) if each is part)
    return f"{piece.name}, part {number}" + (f" ({printable(part.name, 40)})" if part.name else "")


class Placing:
    """Places the notes of parts on the grid.

    Args:
        piece: the piece.
        parts: those to place.
        kind: of the grid.
        voices: of the grid.
        per_quarter: steps of a quarter note.
    """

    def __init__(self, piece: Piece, parts: Sequence[Part], kind: str, voices: int, per_quarter: int) -> None:
        self.piece, self.parts, self.kind, self.voices = piece, parts, kind, voices
        self.per_quarter = per_quarter
        self.problems: dict[int, str] = {}
        self.moved: dict[int, int] = {}
        self.overlapping: set[int] = set()
        ends = (max(self.step(note.end), self.step(note.start) + 1) for part in parts for note in part.notes)
        self.bars = tuple(self._bars(max(ends)))
        self._starts = [bar.start for bar in self.bars]
        count = self.bars[-1].start + self.bars[-1].size
        rest = 0 if kind == DRUMS else REST
        self.values = np.full((count, voices), rest, np.int16)
        self.sounding = np.full((count, voices), REST, np.int16)

    def grid(self, name: str) -> Grid:
        """Place all notes."""
        lines = self._lines()
        if lines is not None:
            for voice, notes in enumerate(lines):
                self._place_line(notes, voice)
        else:
            notes = sorted(note for part in self.parts for note in self._on_grid(part))
            {DRUMS: self._place_drums, POLYPHONY: self._place_voices}.get(self.kind, self._place_roll)(notes)
        return Grid(name, self.kind, self.per_quarter, self.values, self.sounding, self.bars, self.problems, self.moved)

    def step(self, tick: int) -> int:
        """The nearest step."""
        resolution = self.piece.resolution
        return (2 * tick * self.per_quarter + resolution) // (2 * resolution)

    def _bars(self, end: int) -> Iterator[GridBar]:
        """All bars until a step."""
        number = 0
        meters = self.piece.meters
        for place, (tick, meter) in enumerate(meters):
            size = Fraction(meter.beats * 4 * self.per_quarter, meter.unit)
            start = Fraction(tick * self.per_quarter, self.piece.resolution)
            last = place + 1 == len(meters)
            until = end if last else min(self.step(meters[place + 1][0]), end)
            while (begin := round(start)) < until or (last and not number):
                after = round(start + size)
                if size.denominator > 1:
                    self.problems[number] = f"of {meter} is no whole number of steps"
                elif not last and after > until and until < end:
                    self.problems[number] = f"is cut off by a change of the meter from {meter}"
                    after = until
                if number >= MOST_BARS:
                    raise BadItem(f"{printable(self.piece.name)} has more than {MOST_BARS:,} bars.", "", "")
                yield GridBar(begin, max(after - begin, 1), str(meter), self._tempo(begin))
                number, start = number + 1, start + size

    def _tempo(self, step: int) -> float:
        tick = step * self.piece.resolution // self.per_quarter
        return self.piece.tempos[at_tick(self.piece.tempos, tick)][1]

    def _bar(self, step: int) -> int:
        """The number of the bar of a step."""
        return int(np.searchsorted(self._starts, step, side="right")) - 1

    def _on_grid(self, part: Part) -> list[Note]:
        """The notes of a part in steps, each at least one step long."""
        notes, resolution = [], self.piece.resolution
        for note in part.notes:
            start, end = self.step(note.start), self.step(note.end)
            if abs(note.start * self.per_quarter - start * resolution) > TOLERANCE * resolution or end <= start:
                bar = self._bar(start)
                self.moved[bar] = self.moved.get(bar, 0) + 1
            notes.append(Note(start, max(end, start + 1), note.pitch))
        return notes

    def _lines(self) -> list[list[Note]] | None:
        """The notes of each voice, if parts are voices, the highest voice first; None if they are not."""
        if self.kind == MELODY:
            return [self._on_grid(self.parts[0])]
        if self.kind != POLYPHONY or len(self.parts) > self.voices:
            return None
        lines = sorted(map(self._on_grid, self.parts), key=lambda line: -fmean(note.pitch for note in line))
        if any(after.start < before.end for line in lines for before, after in pairwise(line)):
            self.moved = {}  # counted again with all notes
            return None
        return lines

    def _place_line(self, notes: Sequence[Note], voice: int) -> None:
        """Notes of one voice; a bar with several at once does not fit, and the later one ends the earlier."""
        kept = list[Note]()
        for note in notes:
            if kept and note.start < kept[-1].end:
                bar = self._bar(note.start)
                before = kept.pop()
                together = before.start == note.start
                self.overlapping.add(bar)
                self.problems.setdefault(bar, "has several notes " + ("in one step" if together else "at once"))
                kept += [before._replace(end=note.start)] if before.start < note.start else []
            kept.append(note)
        for note in kept:
            self._put(voice, note)

    def _put(self, voice: int, note: Note) -> None:
        self.values[note.start : note.end, voice] = HOLD
        self.sounding[note.start : note.end, voice] = note.pitch
        self.values[note.start, voice] = note.pitch

    def _place_voices(self, notes: Sequence[Note]) -> None:
        """Notes of all parts in voices: each note goes to a free voice, in order of pitch where possible."""
        ends, pitches = [0] * self.voices, [0] * self.voices
        for note in sorted(notes, key=lambda note: (note.start, -note.pitch)):
            free = [voice for voice in range(self.voices) if ends[voice] <= note.start]
            if not free:
                self.problems.setdefault(self._bar(note.start), f"has more than {self.voices} notes at once")
                continue
            above = [pitches[voice] >= note.pitch or ends[voice] <= note.start for voice in range(self.voices)]
            below = [pitches[voice] <= note.pitch or ends[voice] <= note.start for voice in range(self.voices)]
            fitting = [voice for voice in free if all(above[:voice]) and all(below[voice + 1 :])]
            voice = (fitting or free)[0]
            ends[voice], pitches[voice] = note.end, note.pitch
            self._put(voice, note)

    def _place_roll(self, notes: Sequence[Note]) -> None:
        """The sets of pitches that sound."""
        changes = np.zeros((len(self.values) + 1, PITCHES), np.int32)
        if notes:
            starts, ends, pitches = np.array(notes).T
            np.add.at(changes, (starts, pitches), 1)
            np.add.at(changes, (ends, pitches), -1)
        for step, counts in enumerate(changes.cumsum(axis=0)[:-1]):
            sounding = counts.nonzero()[0][::-1]
            if len(sounding) > self.voices:
                self.problems.setdefault(self._bar(step), f"has more than {self.voices} notes at once")
            kept = sounding[: self.voices]
            self.values[step, : len(kept)] = kept
        self.sounding[:] = self.values

    def _place_drums(self, notes: Sequence[Note]) -> None:
        """Combinations of classes of drums."""
        for note in notes:
            place = DRUM_CLASS.get(note.pitch)
            if place is None:
                self.problems.setdefault(self._bar(note.start), f"has the drum {note.pitch}, which is of no class")
                continue
            self.values[note.start] |= 1 << place
            self.sounding[note.start] = note.pitch

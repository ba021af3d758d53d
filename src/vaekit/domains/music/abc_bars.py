"""Bars of tunes in ABC notation: their order with repeats and endings, their places in time, and their notes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeVar

from vaekit.domains.music.pieces import COMMON, MOST_NOTES, Meter, Note, Part

RESOLUTION = 10080
"""Ticks per quarter note: 32nds, and tuplets of 3, 5, 7 and 9 are whole numbers of ticks."""
MOST_REMARKS = 20
"""Of a tune."""
T = TypeVar("T")


class Remarks:
    """What of a tune was changed or passed over: different texts, the first `MOST_REMARKS` of them."""

    def __init__(self) -> None:
        self.texts: dict[str, None] = {}

    def add(self, text: str, *values: object) -> None:
        """Add one, with values in place of {}."""
        if len(self.texts) < MOST_REMARKS:
            self.texts[text.format(*values)] = None


@dataclass(frozen=True)
class Event:
    """Notes that sound together."""

    start: int
    """Ticks from the start of the bar."""
    end: int
    pitches: tuple[int, ...]
    tied: bool
    """Whether they sound on into the next event."""


@dataclass(eq=False)
class Bar:
    """What is between two bar lines."""

    meter: Meter
    tempo: float
    events: list[Event] = field(default_factory=list)
    length: int = 0
    """Ticks."""
    starts: bool = False
    """Whether a repeated section starts with it."""
    ends: bool = False
    """Whether one ends with it."""
    ending: frozenset[int] = frozenset()
    """The passes in which it is played; empty for all."""
    section: bool = False
    """Whether it follows a double bar line or a repeat."""


def played(bars: Sequence[Bar]) -> list[Bar]:
    """Bars in the order in which they are played, with repeats.

    Raises:
        ValueError: there are too many.
    """
    bars = [bar for bar in bars if bar.length]
    order, place, start, turn, events = list[Bar](), 0, 0, 1, 0
    while place < len(bars):
        bar = bars[place]
        after_ending = place and bars[place - 1].ending and not bar.ending
        if place > start and (bar.starts or after_ending):
            start, turn = place, 1
        if bar.ending and turn not in bar.ending:
            place += 1
            continue
        order.append(bar)
        events += 1 + len(bar.events)
        if events > MOST_NOTES:
            raise ValueError("its repeats make it too long")
        if bar.ends and turn < max(2, *endings(bars, start, place)):
            place, turn = start, turn + 1
            continue
        place += 1
        if bar.ends and not bar.ending:
            start, turn = place, 1
    return order


def endings(bars: Sequence[Bar], start: int, place: int) -> list[int]:
    """The passes of all endings of the section that starts at a bar, and that another one is in; and 0."""
    passes = [0, *(turn for bar in bars[start:place] for turn in bar.ending)]
    while place < len(bars) and bars[place].ending:
        passes += bars[place].ending
        place += 1
    return passes


def placed(bars: Sequence[Bar], remarks: Remarks) -> Iterator[tuple[int, int, Bar]]:
    """Bars with the first tick of their metrical bar and their own, so that bar lines are where the meter has them:
    what a bar lacks is filled up with rests, unless the next one, such as an upbeat, completes it.

    Args:
        bars: in the order in which they are played.
        remarks: those about bars are added.
    """
    start = tick = 0
    meter = bars[0].meter if bars else COMMON
    for place, bar in enumerate(bars):
        size, left = bar_ticks(meter), tick - start
        if left and (left + bar.length > size or bar.meter != meter):
            remarks.add("bar {} lasts {} and not {}: it was filled up with a rest", place, Length(left), meter)
            start, left = start + size, 0
            tick = start
        meter, size = bar.meter, bar_ticks(bar.meter)
        following = bars[place + 1].length if place + 1 < len(bars) else 0
        if not left and bar.length < size and (bar.section or not place) and bar.length + following > size:
            tick = start + size - bar.length  # an upbeat
        yield start, tick, bar
        tick += bar.length
        if tick - start > size:
            remarks.add("bar {} lasts {} and not {}", place + 1, Length(bar.length), meter)
        if tick - start >= size:
            start += -(-(tick - start) // size) * size
            tick = start


def changes(values: Iterable[tuple[int, T]]) -> tuple[tuple[int, T], ...]:
    """Values by tick without those that are equal to the one before."""
    kept: dict[int, T] = {}
    last = None
    for tick, value in values:
        if value != last:
            kept[tick] = last = value
    return tuple(kept.items())


def bar_ticks(meter: Meter) -> int:
    """The duration of a bar in ticks.

    >>> bar_ticks(Meter(6, 8)) / RESOLUTION
    3.0
    """
    return meter.beats * 4 * RESOLUTION // meter.unit


@dataclass(frozen=True)
class Length:
    """A duration for people, as a share of a whole note.

    >>> str(Length(RESOLUTION // 2))
    '1/8'
    """

    ticks: int

    def __str__(self) -> str:
        length = Fraction(self.ticks, 4 * RESOLUTION)
        return f"{length.numerator}/{length.denominator}"


def parts_of(bars: Sequence[tuple[int, int, Bar]]) -> Iterator[Part]:
    """The part of a voice, and one of the lower notes of its chords.

    Args:
        bars: as they are `placed`.
    """
    upper, lower, tied = list[Note](), list[Note](), False
    for _, start, bar in bars:
        for event in bar.events:
            first, *rest = sorted(event.pitches, reverse=True)
            note = Note(start + event.start, start + event.end, first)
            lower += [Note(note.start, note.end, pitch) for pitch in rest]
            if tied and upper and upper[-1].pitch == first and upper[-1].end == note.start:
                note = Note(upper.pop().start, note.end, first)
            upper.append(note)
            tied = event.tied
    yield Part("melody", tuple(upper))
    if lower:
        yield Part("chords", tuple(sorted(lower)), chords=True)

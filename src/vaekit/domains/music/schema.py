"""The schema of music: how excerpts are written as tokens."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vaekit.datasets.dataset import Parsed, Record, Splits
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.music.excerpts import (
    COMBINATIONS,
    DRUM_CLASSES,
    DRUMS,
    HOLD,
    KINDS,
    MELODY,
    MOST_VOICES,
    POLYPHONY,
    REST,
    ROLL,
    Excerpt,
)
from vaekit.domains.music.pieces import meter_of
from vaekit.domains.music.windows import Cut, windows
from vaekit.domains.tokens import UNKNOWN, TokenTable, padded, until_end
from vaekit.errors import BadItem, NotFound, printable

MOST_LENGTH = 2**14
"""Tokens."""
MOST_STEPS = 24
"""Of a quarter note."""
MOST_BARS = 256
"""Of a window."""
LETTERS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


def pitch_name(pitch: int) -> str:
    """The name of a pitch.

    >>> pitch_name(60), pitch_name(69)
    ('C4', 'A4')
    """
    return f"{LETTERS[pitch % 12]}{pitch // 12 - 1}"


def value_name(value: int) -> str:
    """The name of a pitch, a hold or a rest."""
    return {REST: "rest", HOLD: "hold"}.get(value) or pitch_name(value)


def hits_name(hits: int) -> str:
    """The name of a combination of drums.

    >>> hits_name(0), hits_name(5)
    ('no drum', 'kick+closed hat')
    """
    names = [drum.name for place, drum in enumerate(DRUM_CLASSES) if hits >> place & 1]
    return "+".join(names) or "no drum"


@dataclass(frozen=True)
class MusicSchema:
    """Excerpts as tokens: one per step and voice, behind one for the meter if there are several."""

    kind: str
    """One of `KINDS`."""
    bars: int
    """Of an excerpt; 0: pieces of any length."""
    per_quarter: int
    """Steps of a quarter note."""
    voices: int
    """Tokens of a step."""
    length: int
    """The maximum number of tokens, with END."""
    meters: tuple[str, ...]
    """Those that are known, the most frequent one first."""
    tempo: float
    """Of items that are made: quarter notes per minute."""
    low: int = 0
    """The lowest pitch."""
    high: int = 127
    """The highest pitch."""
    hits: tuple[int, ...] = ()
    """Of drums: the known combinations."""
    table: TokenTable = field(init=False, repr=False, compare=False)
    values: tuple[int, ...] = field(init=False, repr=False, compare=False)
    """Of the tokens behind those of meters: pitches and so on, as in `Excerpt.steps`."""
    numbers: dict[int, int] = field(init=False, repr=False, compare=False)
    """The token of each of these."""

    def __post_init__(self) -> None:
        self._check()
        values = self.hits if self.kind == DRUMS else (REST, *self._held, *range(self.low, self.high + 1))
        name = hits_name if self.kind == DRUMS else value_name
        table = TokenTable((*(self.meters if self.lead else ()), *map(name, values)))
        first = UNKNOWN + 1 + (len(self.meters) if self.lead else 0)
        object.__setattr__(self, "table", table)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "numbers", {value: number for number, value in enumerate(values, first)})

    def _check(self) -> None:
        if self.kind not in KINDS or not 0 <= self.bars <= MOST_BARS or not 1 <= self.per_quarter <= MOST_STEPS:
            raise ValueError("its kind, bars or steps do not exist")
        if not 1 <= self.voices <= MOST_VOICES or (self.voices > 1 and self.kind in (MELODY, DRUMS)):
            raise ValueError("its voices make no sense")
        if not 1 <= self.length <= MOST_LENGTH or not 1 <= self.tempo <= 6000:
            raise ValueError("its length or tempo makes no sense")
        if not 0 <= self.low <= self.high <= 127:
            raise ValueError("its pitches make no sense")
        if not self.meters or len(set(self.meters)) < len(self.meters):
            raise ValueError("it has no different meters")
        for meter in self.meters:
            meter_of(meter)
        if self.kind == DRUMS and not (self.hits and all(0 <= each < COMBINATIONS for each in self.hits)):
            raise ValueError("its drums make no sense")

    @property
    def _held(self) -> tuple[int, ...]:
        return () if self.kind == ROLL else (HOLD,)

    @property
    def lead(self) -> int:
        """The number of tokens before those of steps: one if there are several meters."""
        return int(len(self.meters) > 1)

    @property
    def group(self) -> int:
        """The number of tokens of a bar, in the most frequent meter."""
        return self.bar_steps(self.meters[0]) * self.voices

    @property
    def cut(self) -> Cut:
        """How pieces become excerpts."""
        return Cut(self.kind, self.bars, self.per_quarter, self.voices)

    def bar_steps(self, meter: str) -> int:
        """The number of steps of a bar."""
        beats, unit = meter_of(meter)
        return max(1, beats * 4 * self.per_quarter // unit)

    def as_plain(self) -> dict[str, Any]:
        names = ("kind", "bars", "per_quarter", "voices", "length", "tempo", "low", "high")
        return {
            **{name: getattr(self, name) for name in names},
            "meters": list(self.meters),
            "hits": list(self.hits),
        }

    def vae_settings(self) -> dict[str, Any]:
        return {"net": {"vocabulary": self.table.size, "length": self.length}}

    def example(self) -> Tensor:
        return torch.zeros(1, self.length, dtype=torch.long)

    def divide(self, splits: Splits, log: SkipLog) -> Splits:
        """The excerpts of pieces, one after the other."""
        parts = [each and windows(each, range(len(each)), self.cut, log) for each in (splits.train, splits.test)]
        assert parts[0] is not None
        return Splits(parts[0], parts[1])

    def to_tensor(self, records: Sequence[Record]) -> Tensor:
        """Token numbers (b, length).

        Raises:
            BadItem: an excerpt does not fit, such as one with a pitch out of range.
        """
        return padded([self._numbers(*excerpt_of(record)) for record in records], self.length)

    def to_small_tensor(self, records: Sequence[Record], side: int) -> Tensor:
        return self.to_tensor(records)

    def _numbers(self, name: str, excerpt: Excerpt) -> list[int]:
        reason = self.problem(excerpt)
        if reason:
            raise BadItem(f"{printable(name)} does not fit: {printable(reason, 200)}.", "", "")
        lead = [UNKNOWN + 1 + self.meters.index(excerpt.meter)] if self.lead else []
        return [*lead, *(self.numbers[value] for step in excerpt.steps for value in step)]

    def problem(self, excerpt: Excerpt) -> str:
        """Why an excerpt does not fit; empty if it does."""
        if excerpt.kind != self.kind or excerpt.per_quarter != self.per_quarter:
            return f"it is of {excerpt.kind} in {excerpt.per_quarter} steps per quarter note"
        if any(len(step) != self.voices for step in excerpt.steps):
            return f"it has another number of voices than {self.voices}"
        if excerpt.meter not in self.meters:
            return f"its meter is {excerpt.meter}, and the VAE knows {', '.join(self.meters)}"
        count = self.lead + len(excerpt.steps) * self.voices
        if count >= self.length:
            return f"it has {len(excerpt.steps):,} steps, which is too long for this VAE"
        unknown = {value for step in excerpt.steps for value in step} - self.numbers.keys()
        if not unknown:
            return ""
        if self.kind == DRUMS:
            return f"the VAE does not know the drums {hits_name(min(unknown))} together"
        low, high = pitch_name(self.low), pitch_name(self.high)
        return f"it has the pitch {pitch_name(max(unknown))}, and the VAE knows {low} to {high}"

    def to_items(self, x: Tensor) -> list[Excerpt]:
        """The inverse. Tokens that make no sense, which only decoders write, are rests."""
        return [self._excerpt(until_end(row)) for row in x.tolist()]

    def _excerpt(self, numbers: Sequence[int]) -> Excerpt:
        lead, numbers = numbers[: self.lead], numbers[self.lead :]
        known = bool(lead) and 0 <= lead[0] - UNKNOWN - 1 < len(self.meters)
        meter = self.meters[lead[0] - UNKNOWN - 1 if known else 0]
        first = self.table.size - len(self.values)
        rest = 0 if self.kind == DRUMS else REST
        values = [self.values[number - first] if number >= first else rest for number in numbers]
        values += [rest] * (-len(values) % self.voices)
        steps = [tuple(values[start : start + self.voices]) for start in range(0, len(values), self.voices)]
        if self.bars:
            count = self.bars * self.bar_steps(meter)
            steps = (steps + [(rest,) * self.voices] * (count - len(steps)))[:count]
        elif not steps:
            steps = [(rest,) * self.voices]
        return Excerpt(self.kind, meter, self.tempo, tuple(valid_steps(self.kind, steps)), self.per_quarter)

    def property_named(self, name: str) -> Callable[[Tensor], Tensor]:
        """Excerpts have no differentiable properties.

        Raises:
            NotFound: always.
        """
        raise NotFound(
            f"Music has no property {printable(repr(name))} with a gradient.",
            "Expected one of those in docs/music.md, or a Python function of excerpts, as module:function.",
            "Write one that returns a number for each excerpt of a list.",
        )

    def transposed(self, x: Tensor, shift: Tensor) -> Tensor:
        """Tokens (b, t) with pitches higher by `shift` (b,) semitones, as far as all pitches of an item stay in range;
        else the item is as it was. Drums stay."""
        if self.kind == DRUMS:
            return x
        first, last = self.numbers[self.low], self.numbers[self.high]
        moved = torch.where(x >= first, x + shift[:, None], x)
        within = ((moved >= first) | (x < first)).all(dim=1) & (moved <= last).all(dim=1)
        return torch.where(within[:, None], moved, x)


def valid_steps(kind: str, steps: Sequence[tuple[int, ...]]) -> Iterator[tuple[int, ...]]:
    """Steps as those of real excerpts: nothing is held that does not sound; pitches of rolls are sorted."""
    if kind == ROLL:
        for step in steps:
            pitches = sorted({value for value in step if value >= 0}, reverse=True)
            yield (*pitches, *[REST] * (len(step) - len(pitches)))
        return
    if kind not in (MELODY, POLYPHONY):
        yield from steps
        return
    before = (REST,) * (len(steps[0]) if steps else 0)
    for step in steps:
        pairs = zip(step, before, strict=True)
        before = tuple(REST if value == HOLD and old == REST else value for value, old in pairs)
        yield before


def excerpt_of(record: Record) -> tuple[str, Excerpt]:
    """Name and excerpt of a record.

    Raises:
        BadItem: it is something else.
    """
    if not isinstance(record, Parsed) or not isinstance(record.item, Excerpt):
        raise BadItem(f"A {type(record).__name__} is no excerpt of music.", "", "Name a file of music.")
    return record.name, record.item


def schema_from(plain: Mapping[str, Any]) -> MusicSchema:
    """The schema that a file holds.

    Raises:
        ValueError: it is damaged.
    """
    counts = {name: plain.get(name) for name in ("bars", "per_quarter", "voices", "length", "low", "high")}
    kind, meters, hits, tempo = (plain.get(name) for name in ("kind", "meters", "hits", "tempo"))
    if not isinstance(kind, str) or any(type(count) is not int for count in counts.values()):
        raise ValueError("it has no kind, bars, steps, voices, length and range")
    if not isinstance(meters, list) or not all(isinstance(each, str) for each in meters):
        raise ValueError("it has no meters")
    if not isinstance(hits, list) or not all(type(each) is int for each in hits):
        raise ValueError("it has no drums")
    if not isinstance(tempo, int | float):
        raise ValueError("it has no tempo")
    numbers: dict[str, Any] = counts
    return MusicSchema(kind, **numbers, meters=tuple(meters), hits=tuple(hits), tempo=float(tempo))

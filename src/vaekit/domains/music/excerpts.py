"""Excerpts: a few bars of music on a grid of equal steps."""

from collections.abc import Iterator
from dataclasses import dataclass

from vaekit.domains.music.pieces import TEMPO, Note

MELODY, DRUMS, POLYPHONY, ROLL = "melody", "drums", "polyphony", "roll"
KINDS = (MELODY, DRUMS, POLYPHONY, ROLL)
"""The kinds of excerpts: one voice; combinations of drums; voices of their own; sets of sounding pitches."""
HOLD, REST = -1, -2
"""In place of a pitch: the note before sounds on, or nothing sounds."""
MOST_VOICES = 4


@dataclass(frozen=True)
class Drum:
    """A class of drums."""

    name: str
    pitches: tuple[int, ...]
    """Of General MIDI; the first one is written."""


DRUM_CLASSES = (
    Drum("kick", (36, 35)),
    Drum("snare", (38, 40, 37, 39)),
    Drum("closed hat", (42, 44, 54, 69, 70)),
    Drum("open hat", (46,)),
    Drum("low tom", (45, 43, 41, 64, 61, 66)),
    Drum("mid tom", (47, 48, 63, 60, 65)),
    Drum("high tom", (50, 62, 77, 76)),
    Drum("crash", (49, 57, 52, 55)),
    Drum("ride", (51, 59, 53, 56)),
)
"""The parts of a drum kit; other percussion of General MIDI counts as what sounds most like it."""
DRUM_CLASS = {pitch: place for place, drum in enumerate(DRUM_CLASSES) for pitch in drum.pitches}
"""By pitch."""
COMBINATIONS = 2 ** len(DRUM_CLASSES)


@dataclass(frozen=True)
class Excerpt:
    """A few bars of music, or a whole piece."""

    kind: str
    """One of `KINDS`."""
    meter: str
    """Such as "6/8"."""
    tempo: float
    """Quarter notes per minute."""
    steps: tuple[tuple[int, ...], ...]
    """What starts in each step, by voice, the highest voice first: a pitch, `HOLD` or `REST`. Of drums the sum of
    2**class of those that are hit; of a roll the pitches that sound, from the highest, and then rests."""
    per_quarter: int = 4
    """Steps of a quarter note."""

    def notes(self) -> Iterator[tuple[int, Note]]:
        """The notes, in steps, with the voice of each; those of drums last a step."""
        if self.kind == DRUMS:
            for step, (hits,) in enumerate(self.steps):
                for place, drum in enumerate(DRUM_CLASSES):
                    if hits >> place & 1:
                        yield 0, Note(step, step + 1, drum.pitches[0])
        elif self.kind == ROLL:
            yield from ((0, note) for note in self._roll_notes())
        else:
            for voice in range(len(self.steps[0]) if self.steps else 0):
                yield from ((voice, note) for note in self._voice_notes(voice))

    def _voice_notes(self, voice: int) -> Iterator[Note]:
        start, pitch = 0, REST
        for step, values in enumerate((*self.steps, ())):
            value = values[voice] if values else REST
            if value == HOLD:
                continue
            if pitch >= 0:
                yield Note(start, step, pitch)
            start, pitch = step, value

    def _roll_notes(self) -> Iterator[Note]:
        sounding: dict[int, int] = {}
        for step, values in enumerate((*self.steps, ())):
            pitches = {value for value in values if value >= 0}
            for pitch in [pitch for pitch in sounding if pitch not in pitches]:
                yield Note(sounding.pop(pitch), step, pitch)
            sounding.update({pitch: step for pitch in pitches if pitch not in sounding})

    @property
    def text(self) -> str:
        """The same for excerpts with the same notes and the same meter."""
        return f"{self.meter} {self.steps}"

    @property
    def seconds(self) -> float:
        """The duration."""
        return len(self.steps) / self.per_quarter * 60 / self.tempo


def silence(kind: str, count: int, voices: int, meter: str, tempo: float = TEMPO, per_quarter: int = 4) -> Excerpt:
    """An excerpt of rests."""
    step = (0,) if kind == DRUMS else (REST,) * voices
    return Excerpt(kind, meter, tempo, (step,) * count, per_quarter)

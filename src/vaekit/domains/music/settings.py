"""The settings of a recipe for music."""

from dataclasses import dataclass, replace

from vaekit.domains.music.excerpts import DRUMS, KINDS, MELODY, MOST_VOICES
from vaekit.domains.music.pieces import meter_of
from vaekit.domains.music.schema import MOST_BARS, MOST_LENGTH, MOST_STEPS
from vaekit.domains.music.windows import Cut

MOST_TRANSPOSITION = 24


@dataclass(frozen=True)
class MusicSettings:
    """The table [data] of a recipe for music."""

    kind: str = MELODY
    """What items are: "melody", "drums", "polyphony" (voices with starts of notes) or "roll" (sets of sounding
    pitches)."""
    bars: int = 2
    """The number of bars of an item; 0: whole pieces."""
    steps: int = 4
    """Steps of a quarter note: 4 are sixteenths."""
    voices: int = 4
    """Voices of polyphony, or notes at once of rolls."""
    hop: int = 1
    """Bars from an item to the next one in the same piece."""
    transpose: int = 0
    """Training items are transposed by up to this number of semitones, up or down."""
    meters: tuple[str, ...] = ()
    """Meters to train on, such as "4/4"; empty for all that the data have."""
    length: int = 4096
    """Of whole pieces: the maximum number of tokens; longer ones are left out."""
    held_out: float | None = None
    """Pieces that are never trained on: how many, or below 1 which share. None: one in twenty, at most 256."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}, and not one of {', '.join(KINDS)}")
        ranges = {"bars": (0, MOST_BARS), "steps": (1, MOST_STEPS), "voices": (1, MOST_VOICES), "hop": (1, MOST_BARS)}
        ranges |= {"transpose": (0, MOST_TRANSPOSITION), "length": (2, MOST_LENGTH)}
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}, and not {low} to {high:,}")
        if self.transpose and self.kind == DRUMS:
            raise ValueError("drums cannot be transposed")
        for meter in self.meters:
            meter_of(meter)

    @property
    def line_voices(self) -> int:
        """The number of tokens of a step."""
        return 1 if self.kind in (MELODY, DRUMS) else self.voices

    @property
    def cut(self) -> Cut:
        """How pieces become items to train on."""
        return Cut(self.kind, self.bars, self.steps, self.line_voices, self.hop, silent=False)

    @property
    def held_out_cut(self) -> Cut:
        """How pieces become held-out items: next to each other."""
        return replace(self.cut, hop=0)

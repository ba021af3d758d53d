"""Read tunes in ABC notation (the standard 2.1, abcnotation.com, 2011): melodies, keys, meters, repeats, tuplets, ties.

Chord symbols, decorations, grace notes and words are passed over. Lower notes of chords become a part of their own, so
that the upper ones are a melody. A file has any number of tunes, each from its line `X:` on.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from vaekit.domains.music.abc_bars import RESOLUTION, Bar, Event, Remarks, bar_ticks, changes, parts_of, placed, played
from vaekit.domains.music.pieces import (
    COMMON,
    MOST_NOTES,
    TEMPO,
    Meter,
    Piece,
    check_size,
    checked_meter,
    meter_of,
)
from vaekit.errors import BadItem, printable

MOST_BYTES = 2**23
"""Of a file."""
MOST_TUNES = 2**16
"""Of a file."""
FIELD = re.compile(r"([A-Za-z+]):(?![|:])(.*)")
BODY_FIELDS = frozenset("IKLMNPQRTUVWmrsw")
"""Fields that may stand among the notes: the letters of notes are not among them."""
ELEMENT = re.compile(
    r"""
    (?P<skip>"[^"]{0,500}"?|![^!\s|]{0,40}!|\{[^}]{0,200}\}?|[\s`\\~.uvHLMOPSTy$*+)]+)
    |\[(?P<field>[A-Za-z]):(?P<value>[^\]]{0,200})\]
    |(?P<bar>\[\||[|:]+\]?|\])\s*(?:\[?(?P<ending>\d[\d,.-]{0,8}))?
    |\[(?P<alone>\d[\d,.-]{0,8})
    |\((?P<tuplet>\d)(?::(?P<time>\d?)(?::(?P<count>\d?))?)?
    |(?P<slur>\()
    |\[(?P<chord>[^\]|]{0,200})\](?P<times>\d{0,3}(?:/\d{0,3})*)(?P<bound>-?)
    |(?P<note>(?:\^\^?|__?|=)?[A-Ga-gzxZX][,']*\d{0,3}(?:/\d{0,3})*-?)
    |(?P<broken>>+|<+)
    |(?P<tie>-)
    |(?P<unknown>.)
    """,
    re.VERBOSE | re.DOTALL,
)
NOTE = re.compile(r"(\^\^|\^|__|_|=)?([A-Ga-gzxZX])([,']*)(\d{0,3})((?:/\d{0,3})*)(-?)")
ACCIDENTALS = {"^": 1, "^^": 2, "_": -1, "__": -2, "=": 0}
STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
FIFTHS = "FCGDAEB"
"""The order of sharps, and backwards of flats."""
MODES = {"": 0, "maj": 0, "ion": 0, "lyd": 1, "mix": -1, "dor": -2, "m": -3, "min": -3, "aeo": -3, "phr": -4, "loc": -5}
"""By their first letters: sharps more than major."""
KEY = re.compile(r"([A-G])([#b]?)\s*([A-Za-z]*)")
TUPLETS = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}
"""Notes of a tuplet -> the number of notes in whose time they are; others depend on the meter."""


@dataclass(eq=False)
class Voice:
    """The state of one voice of a tune."""

    meter: Meter
    tempo: float
    unit: Fraction
    """The length of a note without a number, in quarter notes."""
    key: dict[str, int]
    """The accidental of each letter."""
    bars: list[Bar] = field(default_factory=list)
    accidentals: dict[str, int] = field(default_factory=dict)
    """Those in the bar."""
    ties: dict[str, int] = field(default_factory=dict)
    """The pitch by letter and octave of notes that sound on."""
    tuplet: tuple[int, Fraction] = (0, Fraction(1))
    """Notes that are left, and the factor of their lengths."""
    broken: Fraction = Fraction(1)
    """The factor of the next note's length."""

    @property
    def bar(self) -> Bar:
        """The one that is being read."""
        if not self.bars:
            self.bars.append(Bar(self.meter, self.tempo))
        return self.bars[-1]


def read_abc(text: str, source: str) -> list[Piece | BadItem]:
    """The tunes of a file, in order; errors in the place of those that cannot be read.

    Args:
        text: the whole file.
        source: its name, for messages.

    Raises:
        BadItem: there are too many.
    """
    tunes = re.split(r"(?m)^(?=X:)", text.replace("\r\n", "\n").replace("\r", "\n"))
    if len(tunes) > MOST_TUNES:
        raise BadItem(
            f"{printable(source)} has {len(tunes):,} tunes.", f"A file has at most {MOST_TUNES:,}.", "Divide it."
        )
    found: list[Piece | BadItem] = []
    for number, tune in enumerate((each for each in tunes if each.startswith("X:")), 1):
        name = f"{source}:{number}"
        try:
            found.append(check_size(read_tune(tune, name), name))
        except BadItem as error:
            found.append(error)
        except ValueError as error:
            found.append(BadItem(f"{printable(name)} is no tune in ABC: {printable(str(error))}.", "", ""))
    return found


def read_tune(text: str, name: str) -> Piece:
    """One tune.

    Raises:
        ValueError: it has no key or no notes, or too many.
    """
    reader = Tune()
    reader.read(text.splitlines())
    voices = [list(placed(played(voice.bars), reader.remarks)) for voice in reader.voices.values()]
    parts = [part for bars in voices for part in parts_of(bars)]
    if not any(part.notes for part in parts):
        raise ValueError("it has no notes")
    bars = next(bars for bars in voices if bars)
    meters = changes((start, bar.meter) for start, _, bar in bars)
    tempos = changes((start, bar.tempo) for start, _, bar in bars)
    title = f"{name} ({printable(reader.title, 60)})" if reader.title else name
    return Piece(title, RESOLUTION, tuple(parts), meters, tempos, tuple(reader.remarks.texts))


class Tune:
    """Reads the lines of one tune."""

    def __init__(self) -> None:
        self.title = ""
        self.remarks = Remarks()
        self.voices: dict[str, Voice] = {}
        self._now = Voice(COMMON, TEMPO, Fraction(0), {})
        self._body = False

    def read(self, lines: Sequence[str]) -> None:
        """Read header and notes.

        Raises:
            ValueError: there is no key.
        """
        for line in lines:
            line = re.sub(r"(?<!\\)%.*", "", line)
            found = FIELD.fullmatch(line.strip())
            if found and (not self._body or found[1] in BODY_FIELDS):
                self.field(found[1], found[2].strip())
            elif self._body:
                self.music(line)
        if not self._body:
            raise ValueError("it has no line K: with its key")

    def field(self, name: str, value: str) -> None:
        """Read a field."""
        if name == "T":
            self.title = self.title or value
        elif name == "M":
            self._now.meter = self.meter(value)
            if not self._now.bar.length:
                self._now.bar.meter = self._now.meter
        elif name == "L":
            self._now.unit = fraction(value) * 4
        elif name == "Q":
            self.tempo(value)
            if not self._now.bar.length:
                self._now.bar.tempo = self._now.tempo
        elif name == "K":
            self._now.key = self.key(value)
            if not self._body:
                self._body = True
                self.voices[""] = self._now
        elif name == "V" and self._body:
            self.voice(value.split()[0] if value.split() else "")

    def voice(self, name: str) -> None:
        """Go on with another voice; the notes before the first field are of the first voice."""
        first = next(iter(self.voices.values()))
        if name not in self.voices and "" in self.voices and not any(bar.length for bar in first.bars):
            self.voices = {name: first}
        if name not in self.voices:
            self.voices[name] = Voice(first.meter, first.tempo, first.unit, first.key)
        self._now = self.voices[name]

    def meter(self, value: str) -> Meter:
        """The meter of a field M:."""
        try:
            if value in ("C", "none", ""):
                return COMMON
            if value == "C|":
                return Meter(2, 2)
            if "+" in value:
                beats, _, unit = value.strip("()").partition("/")
                return checked_meter(sum(map(int, beats.strip("() ").split("+"))), int(unit))
            return meter_of(value.replace(" ", ""))
        except ValueError:
            self.remarks.add("the meter {} is not known", printable(value, 20))
            return self._now.meter

    def tempo(self, value: str) -> None:
        """Read a field Q:."""
        found = re.search(r"(?:(\d{1,3})/(\d{1,3})\s*=\s*)?(\d{1,3})", re.sub(r'"[^"]*"', "", value))
        if found and int(found[3]) and (found[2] is None or int(found[2])):
            beat = Fraction(int(found[1]), int(found[2])) * 4 if found[1] else Fraction(1)
            tempo = float(int(found[3]) * beat)
            if 4 <= tempo <= 6000:
                self._now.tempo = tempo
                return
        self.remarks.add("the tempo {} is not known", printable(value, 20))

    def key(self, value: str) -> dict[str, int]:
        """The accidentals of a field K:."""
        accidentals: dict[str, int] = {}
        found = KEY.match(value)
        if value[:2].lower() == "hp":
            accidentals = {"F": 1, "C": 1}
        elif found:
            mode = found[3].lower()
            mode = "m" if mode == "m" else mode[:3]
            if mode not in MODES and mode[:3] not in ("cle", "exp", "oct", "tra", "mid", "sta"):
                self.remarks.add("the key {} is not known", printable(value, 20))
            sharps = FIFTHS.index(found[1]) - 1 + 7 * {"": 0, "#": 1, "b": -1}[found[2]] + MODES.get(mode, 0)
            letters = FIFTHS[:sharps] if sharps > 0 else FIFTHS[max(7 + sharps, 0) :] if sharps < 0 else ""
            accidentals = dict.fromkeys(letters, 1 if sharps > 0 else -1)
        elif value and value[:4].lower() != "none":
            self.remarks.add("the key {} is not known", printable(value, 20))
        for mark, letter in re.findall(r"(\^\^|\^|__|_|=)([A-Ga-g])", value):
            accidentals[letter.upper()] = ACCIDENTALS[mark]
        return accidentals

    def music(self, line: str) -> None:
        """Read a line of notes."""
        for found in ELEMENT.finditer(line):
            voice = self._now
            kind = found.lastgroup
            if found["field"]:
                self.field(found["field"], found["value"].strip())
            elif found["bar"]:
                self.bar_line(found["bar"], found["ending"])
            elif found["alone"]:
                self.start_bar(voice.bar, ending=found["alone"])
            elif found["tuplet"]:
                notes, time, count = (int(found[name] or 0) for name in ("tuplet", "time", "count"))
                compound = voice.meter.beats % 3 == 0 and voice.meter.beats > 3
                time = time or TUPLETS.get(notes, 3 if compound else 2)
                voice.tuplet = (count or notes, Fraction(time, notes)) if notes else voice.tuplet
            elif found["chord"] is not None:
                notes_in = [each for each in NOTE.finditer(found["chord"]) if each[2] not in "zxZX"]
                if notes_in:
                    self.sound(notes_in, length_of(found["times"]), bool(found["bound"]))
            elif found["note"]:
                self.note(found["note"])
            elif found["broken"]:
                self.break_rhythm(found["broken"])
            elif found["tie"]:
                self.tie()
            elif kind == "unknown":
                self.remarks.add("{!r} was passed over", printable(found[0]))

    def note(self, text: str) -> None:
        """Read a note or a rest."""
        found = NOTE.fullmatch(text)
        assert found is not None
        if found[2] not in "zxZX":
            self.sound([found], Fraction(1), False)
            return
        length = length_of(found[4] + found[5])
        bar = self._now.bar
        whole = found[2] in "ZX"
        bar.length += bar_ticks(bar.meter) * max(1, int(length)) if whole else self.ticks(length)

    def sound(self, notes: Sequence[re.Match[str]], times: Fraction, tied: bool) -> None:
        """Add a note or a chord to the bar; its length is that of the first note."""
        voice, bar = self._now, self._now.bar
        pitches = [self.pitch(note) for note in notes]
        ticks = self.ticks(length_of(notes[0][4] + notes[0][5]) * times)
        tied = tied or any(note[6] for note in notes)
        names = [note[2] + note[3] for note in notes]
        voice.ties = dict(zip(names, pitches, strict=True)) if tied else {}
        if ticks > 0:
            bar.events.append(Event(bar.length, bar.length + ticks, tuple(pitches), tied))
            bar.length += ticks

    def tie(self) -> None:
        """Tie the last note, with a hyphen that white space separates from it, to the next one."""
        bar = next((bar for bar in reversed(self._now.bars) if bar.events), None)
        if bar is not None:
            bar.events[-1] = replace(bar.events[-1], tied=True)

    def pitch(self, note: re.Match[str]) -> int:
        """The pitch of a note; its accidental holds for its letter until the end of the bar."""
        voice, letter = self._now, note[2].upper()
        octave = (note[2].islower()) + note[3].count("'") - note[3].count(",")
        if note[1]:
            voice.accidentals[letter] = ACCIDENTALS[note[1]]
        elif (tied := voice.ties.get(note[2] + note[3])) is not None:
            return tied
        accidental = voice.accidentals.get(letter, voice.key.get(letter, 0))
        return min(max(60 + STEPS[letter] + 12 * octave + accidental, 0), 127)

    def ticks(self, length: Fraction) -> int:
        """The duration of the next note, of a length in units."""
        voice = self._now
        left, factor = voice.tuplet
        scale = voice.broken * (factor if left else 1)
        voice.broken, voice.tuplet = Fraction(1), (max(left - 1, 0), factor)
        unit = voice.unit or Fraction(1, 2 if Fraction(*voice.meter) >= Fraction(3, 4) else 4)
        return round(length * unit * scale * RESOLUTION)

    def break_rhythm(self, marks: str) -> None:
        """Lengthen the last note and shorten the next one, or the reverse."""
        bar, short = self._now.bar, Fraction(1, 2 ** min(len(marks), 3))
        before, after = (2 - short, short) if marks[0] == ">" else (short, 2 - short)
        if bar.events and bar.events[-1].end == bar.length:
            last = bar.events.pop()
            end = last.start + round((last.end - last.start) * before)
            bar.events.append(Event(last.start, end, last.pitches, last.tied))
            bar.length = end
        self._now.broken = after

    def bar_line(self, mark: str, ending: str | None) -> None:
        """End a bar."""
        voice = self._now
        bar, double = voice.bar, mark not in ("|", "]")
        if not bar.length:
            bar.starts = bar.starts or mark.endswith(":")
            bar.section = bar.section or double
            if mark.startswith(":") and len(voice.bars) > 1:
                voice.bars[-2].ends = True
            if double:
                bar.ending = frozenset()
            if ending:
                self.start_bar(bar, ending)
            return
        if len(voice.bars) * 4 > MOST_NOTES:
            raise ValueError("it has too many bars")
        bar.ends = mark.startswith(":")
        after = Bar(voice.meter, voice.tempo, starts=mark.endswith(":"), section=double)
        after.ending = frozenset() if double else bar.ending
        voice.bars.append(after)
        voice.accidentals = {}
        if ending:
            self.start_bar(after, ending)

    def start_bar(self, bar: Bar, ending: str) -> None:
        """Start an ending: "1", "1,3" or "1-3"; in the middle of a bar it is passed over."""
        if bar.length:
            self.bar_line("|", ending)
            return
        passes: set[int] = set()
        for part in re.split(r"[,.]", ending):
            ends = [int(each) for each in part.split("-") if each][:2]
            passes |= set(range(ends[0], min(ends[-1], ends[0] + 20) + 1)) if ends else set()
        bar.ending = frozenset(passes)


def fraction(text: str) -> Fraction:
    """A number such as 1/8.

    Raises:
        ValueError: it is none, or not positive.
    """
    found = re.fullmatch(r"(\d{1,3})(?:/(\d{1,3}))?", text.strip())
    if not found or not int(found[1]) or (found[2] and not int(found[2])):
        raise ValueError(f"{text[:20]!r} is no length of notes")
    return Fraction(int(found[1]), int(found[2] or 1))


def length_of(text: str) -> Fraction:
    """The factor of a note's length.

    >>> [str(length_of(text)) for text in ("", "3", "/", "//", "3/2", "/4")]
    ['1', '3', '1/2', '1/4', '3/2', '1/4']
    """
    number, *parts = text.split("/")
    value = Fraction(int(number or 1))
    for part in parts:
        value /= int(part or 2) or 1
    return value

"""Read and write Standard MIDI Files (formats 0 and 1; the specification of the MIDI Association, 1996).

The reader is strict about lengths and bounded by the size of the file: it makes no objects of what it does not need,
so that damaged and hostile files end in an error and not in a crash, a loop or a full memory.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from vaekit.domains.music.pieces import COMMON, MOST_NOTES, TEMPO, Meter, Note, Part, Piece, check_size, checked_meter
from vaekit.errors import BadItem, printable

MOST_BYTES = 2**23
"""Of a file."""
DRUM_CHANNEL = 9
"""Of General MIDI, counted from 0."""
MICROSECONDS = 60_000_000
"""Of a minute: tempos are stored as microseconds per quarter note."""
HEADER, TRACK = b"MThd", b"MTrk"
END_OF_TRACK, TRACK_NAME, SET_TEMPO, TIME_SIGNATURE, MARKER = 0x2F, 0x03, 0x51, 0x58, 0x06
SLOWEST, FASTEST = 4.0, 6000.0
"""Tempos that are taken; others are those of damaged files."""


class Damaged(ValueError):
    """A file that is no MIDI file; the text is the reason."""


@dataclass(eq=False)
class Cursor:
    """A position in bytes."""

    content: bytes
    place: int
    end: int

    def take(self, count: int) -> bytes:
        """The next bytes."""
        if count > self.end - self.place:
            raise Damaged("it ends too early: it is truncated, or its lengths are wrong")
        self.place += count
        return self.content[self.place - count : self.place]

    def byte(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def number(self) -> int:
        """A number of variable length, at most four bytes."""
        value = 0
        for _ in range(4):
            byte = self.byte()
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value
        raise Damaged("a number has more than four bytes")


@dataclass(eq=False)
class Reading:
    """What was read so far."""

    parts: dict[tuple[int, int], list[Note]] = field(default_factory=dict)
    """Notes by track and channel."""
    names: dict[int, str] = field(default_factory=dict)
    """Of tracks."""
    meters: dict[int, Meter] = field(default_factory=dict)
    tempos: dict[int, float] = field(default_factory=dict)
    remarks: dict[str, int] = field(default_factory=dict)
    """What was left out, and how often."""
    notes: int = 0

    def remark(self, text: str) -> None:
        """Count something that was left out."""
        self.remarks[text] = self.remarks.get(text, 0) + 1


def read_midi(content: bytes, source: str) -> Piece:
    """The piece in the bytes of a MIDI file.

    Args:
        content: all bytes of the file.
        source: its name, for messages.

    Raises:
        BadItem: it is no MIDI file, damaged, or too long.
    """
    try:
        piece = piece_of(content, source)
    except Damaged as error:
        raise BadItem(
            f"{printable(source)} is no MIDI file that can be read: {error}.",
            "Expected a complete Standard MIDI File.",
            "Export it again.",
        ) from error
    return check_size(piece, source)


def piece_of(content: bytes, source: str) -> Piece:
    """The same, without the check of sizes; raises Damaged."""
    cursor = Cursor(content, 0, len(content))
    if cursor.take(4) != HEADER:
        raise Damaged(f"it does not start with {HEADER.decode()}")
    header = cursor.take(int.from_bytes(cursor.take(4), "big"))
    if len(header) < 6:
        raise Damaged("its header is too short")
    kind, _, resolution = (int.from_bytes(header[place : place + 2], "big") for place in (0, 2, 4))
    if kind > 1:
        raise Damaged("it has several independent songs (format 2)" if kind == 2 else "its format is unknown")
    if resolution & 0x8000 or not resolution:
        raise Damaged("it counts time in frames (SMPTE) and not in quarter notes" if resolution else "no ticks")
    reading = Reading()
    for number, track in enumerate(tracks(cursor)):
        read_track(track, number, reading)
    parts = [
        Part(reading.names.get(track, ""), tuple(sorted(notes)), channel == DRUM_CHANNEL)
        for (track, channel), notes in sorted(reading.parts.items())
    ]
    return Piece(
        source,
        resolution,
        tuple(parts),
        tuple(sorted({0: COMMON, **reading.meters}.items())),
        tuple(sorted({0: TEMPO, **reading.tempos}.items())),
        remarks=tuple(f"{text} ({count:,})" for text, count in reading.remarks.items()),
    )


def tracks(cursor: Cursor) -> Iterator[Cursor]:
    """The contents of the tracks; other chunks are passed over."""
    found = False
    while cursor.end - cursor.place >= 8:
        kind, length = cursor.take(4), int.from_bytes(cursor.take(4), "big")
        start = cursor.place
        cursor.take(length)
        if kind == TRACK:
            found = True
            yield Cursor(cursor.content, start, start + length)
    if not found:
        raise Damaged("it has no track")


def read_track(cursor: Cursor, number: int, reading: Reading) -> None:
    """Read the events of a track."""
    tick, status = 0, 0
    sounding: dict[tuple[int, int], int] = {}
    while cursor.place < cursor.end:
        tick += cursor.number()
        byte = cursor.byte()
        if byte == 0xFF:
            kind, status = cursor.byte(), 0
            if read_meta(kind, cursor.take(cursor.number()), tick, number, reading):
                break
        elif byte in (0xF0, 0xF7):
            cursor.take(cursor.number())
            status = 0
        elif byte >= 0xF0:
            raise Damaged(f"it has the event {byte:#x}, which is for cables and not for files")
        else:
            data = [byte] if byte < 0x80 else []
            status = status if data else byte
            if not status:
                raise Damaged("a track has data without an event")
            data += cursor.take((1 if status >> 4 in (0xC, 0xD) else 2) - len(data))
            if max(data) > 0x7F:
                raise Damaged("a value of an event is above 127")
            if status >> 4 in (0x8, 0x9):
                hear(sounding, reading, (number, status & 0xF), tick, data, on=status >> 4 == 0x9)
    for (channel, pitch), start in sounding.items():
        reading.remark("notes that never end were ended with their track")
        add(reading, (number, channel), start, tick, pitch)


def hear(
    sounding: dict[tuple[int, int], int],
    reading: Reading,
    part: tuple[int, int],
    tick: int,
    data: Sequence[int],
    on: bool,
) -> None:
    """The start or the end of a note; a start ends an earlier note of the same pitch, and one of velocity 0 is an
    end."""
    key = part[1], data[0]
    start = sounding.pop(key, None)
    if start is not None:
        add(reading, part, start, tick, data[0])
    if on and data[1]:
        sounding[key] = tick


def add(reading: Reading, part: tuple[int, int], start: int, end: int, pitch: int) -> None:
    """Keep a note."""
    reading.notes += 1
    if reading.notes > MOST_NOTES:
        raise Damaged(f"it has more than {MOST_NOTES:,} notes")
    if end > start:
        reading.parts.setdefault(part, []).append(Note(start, end, pitch))
    else:
        reading.remark("notes without a duration were left out")


def read_meta(kind: int, data: bytes, tick: int, number: int, reading: Reading) -> bool:
    """Read an event about the music; returns whether it is the end of the track."""
    if kind == TRACK_NAME:
        reading.names.setdefault(number, data.decode("utf-8", "replace")[:100])
    elif kind == SET_TEMPO and len(data) == 3:
        tempo = MICROSECONDS / max(1, int.from_bytes(data, "big"))
        if SLOWEST <= tempo <= FASTEST:
            reading.tempos[tick] = tempo
        else:
            reading.remark("tempos that make no sense were left out")
    elif kind == TIME_SIGNATURE and len(data) >= 2:
        try:
            reading.meters[tick] = checked_meter(data[0], 2 ** min(data[1], 16))
        except ValueError:
            reading.remark("meters that make no sense were left out")
    return kind == END_OF_TRACK


def write_midi(piece: Piece, programs: Sequence[int] = (), markers: Sequence[tuple[int, str]] = ()) -> bytes:
    """A piece as a MIDI file of format 1: a track with meters, tempos and markers, and one for each part.

    Args:
        piece: the piece.
        programs: the instrument of each part, 0 to 127 as in General MIDI; 0, a piano, where there are none.
        markers: texts by tick.
    """
    events = [(tick, 0, meta(TIME_SIGNATURE, signature(meter))) for tick, meter in piece.meters]
    events += [
        (tick, 1, meta(SET_TEMPO, round(MICROSECONDS / tempo).to_bytes(3, "big"))) for tick, tempo in piece.tempos
    ]
    events += [(tick, 2, meta(MARKER, text.encode())) for tick, text in markers]
    chunks = [track_of(events, piece.end)]
    channels = iter([channel for channel in range(16) if channel != DRUM_CHANNEL] * len(piece.parts))
    for place, part in enumerate(piece.parts):
        channel = DRUM_CHANNEL if part.drums else next(channels)
        events = [(0, 0, meta(TRACK_NAME, part.name.encode()))]
        program = programs[place] if place < len(programs) else 0
        events += [] if part.drums else [(0, 1, bytes([0xC0 | channel, program]))]
        for note in part.notes:
            events.append((note.start, 3, bytes([0x90 | channel, note.pitch, 80])))
            events.append((note.end, 2, bytes([0x80 | channel, note.pitch, 0])))
        chunks.append(track_of(events, piece.end))
    header = b"".join(value.to_bytes(2, "big") for value in (1, len(chunks), piece.resolution))
    return b"".join([chunk(HEADER, header), *(chunk(TRACK, content) for content in chunks)])


def signature(meter: Meter) -> bytes:
    """The data of a time signature: also a metronome click per beat, and 8 32nds per quarter note."""
    return bytes([meter.beats, int(math.log2(meter.unit)), min(96 // meter.unit or 1, 255), 8])


def track_of(events: Sequence[tuple[int, int, bytes]], end: int) -> bytes:
    """The content of a track: events by tick, and at a tick by their second entry."""
    parts, last = list[bytes](), 0
    for tick, _, content in [*sorted(events), (end, 9, meta(END_OF_TRACK, b""))]:
        parts += [variable(max(tick - last, 0)), content]
        last = max(tick, last)
    return b"".join(parts)


def meta(kind: int, data: bytes) -> bytes:
    """An event about the music."""
    return bytes([0xFF, kind]) + variable(len(data)) + data


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a file."""
    return kind + len(content).to_bytes(4, "big") + content


def variable(number: int) -> bytes:
    """A number of variable length.

    >>> variable(0x40).hex(), variable(0x3FFF).hex()
    ('40', 'ff7f')
    """
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(number & 0x7F | 0x80)
    return bytes(reversed(groups))

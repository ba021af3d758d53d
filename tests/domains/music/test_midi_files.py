"""MIDI files: what is written is what is read, and files that are damaged or hostile."""

import io
import time

import numpy as np
import pytest
from small_music import random_piece

from vaekit.domains.music.midi_files import chunk, meta, read_midi, track_of, variable, write_midi
from vaekit.domains.music.pieces import Note, Part, Piece, meter_of
from vaekit.errors import BadItem


@pytest.mark.parametrize("seed", range(5))
def test_a_piece_comes_back(seed: int) -> None:
    piece = random_piece(seed)
    again = read_midi(write_midi(piece, programs=(5, 6)), "t.mid")
    assert again.parts == piece.parts and again.meters == piece.meters and again.resolution == piece.resolution
    assert [tick for tick, _ in again.tempos] == [0, 1920]
    assert [tempo for _, tempo in again.tempos] == pytest.approx([120, 75], rel=1e-6)


def test_another_library_reads_the_same() -> None:
    mido = pytest.importorskip("mido", reason="compares with mido")
    piece = random_piece(7)
    file = mido.MidiFile(file=io.BytesIO(write_midi(piece, markers=[(0, "1")])))
    for track, part in zip(file.tracks[1:], piece.parts, strict=True):
        tick, starts, notes = 0, dict[int, int](), []
        for message in track:
            tick += message.time
            if message.type == "note_on":
                starts[message.note] = tick
            elif message.type == "note_off":
                notes.append(Note(starts.pop(message.note), tick, message.note))
        assert tuple(sorted(notes)) == part.notes and track.name == part.name


def test_files_of_another_library_are_read() -> None:
    mido = pytest.importorskip("mido", reason="compares with mido")
    file = mido.MidiFile(type=0, ticks_per_beat=96)
    message, meta_message = mido.Message, mido.MetaMessage
    file.tracks.append(
        mido.MidiTrack(
            [
                meta_message("set_tempo", tempo=mido.bpm2tempo(90)),
                meta_message("time_signature", numerator=6, denominator=8),
                message("sysex", data=(1, 2, 3)),
                message("note_on", note=60, velocity=90, time=0),
                message("note_on", note=64, velocity=90, time=48),
                message("note_on", note=60, velocity=0, time=48),  # an end
                message("pitchwheel", pitch=100, time=1),
                message("note_off", note=64, time=0),
                message("note_on", note=36, velocity=90, channel=9, time=0),
                message("note_on", note=36, velocity=90, channel=9, time=24),
                message("program_change", program=3, time=0),
            ]
        )
    )
    content = io.BytesIO()
    file.save(file=content)
    piece = read_midi(content.getvalue(), "t.mid")
    assert [part.drums for part in piece.parts] == [False, True]
    assert piece.parts[0].notes == (Note(0, 96, 60), Note(48, 97, 64))
    assert piece.parts[1].notes == (Note(97, 121, 36),), "the last one has no duration"
    assert piece.meters == ((0, meter_of("6/8")),) and piece.tempos[0][1] == pytest.approx(90)
    assert piece.remarks


def midi(*events: bytes, kind: int = 1, resolution: int = 480) -> bytes:
    header = b"".join(value.to_bytes(2, "big") for value in (kind, 1, resolution))
    return chunk(b"MThd", header) + chunk(b"MTrk", b"".join(events))


ON, OFF = bytes([0x90, 60, 80]), bytes([0x80, 60, 0])
HOSTILE = {
    "empty": b"",
    "text": b"MThd is not enough",
    "no track": midi()[:14],
    "a billion ticks": midi(b"\0", ON, *[variable(2**28 - 1), ON[1:]] * 4, variable(2**28 - 1), OFF),
    "a slow tempo": midi(b"\0", meta(0x51, b"\xff\xff\xff"), b"\0", ON, *[variable(2**24), ON[1:]] * 4, b"\0", OFF),
    "an endless number": midi(b"\xff\xff\xff\xff\xff\x7f", ON),
    "a long message": midi(b"\0\xf0", variable(2**27), b"x"),
    "data without an event": midi(b"\0", ON[1:]),
    "a value above 127": midi(b"\0", bytes([0x90, 200, 80])),
    "songs": midi(b"\0", ON, kind=2),
    "an unknown format": midi(b"\0", ON, kind=700),
    "no ticks": midi(b"\0", ON, resolution=0),
    "frames": midi(b"\0", ON, resolution=0xE728),
    "a real-time event": midi(b"\0\xf8"),
    "too many notes": midi(b"\0", ON, *[b"\1", ON[1:]] * 4000),
    "a track of 4 GB": midi(b"\0", ON)[:18] + b"\xff\xff\xff\xff" + b"\0" + ON,
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_files_are_refused(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.domains.music.midi_files.MOST_NOTES", 3000)
    started = time.process_time()
    with pytest.raises(BadItem):
        read_midi(content, "t.mid")
    assert time.process_time() - started < 5


def test_any_change_of_a_byte_is_read_or_refused() -> None:
    whole, rng = write_midi(random_piece(0, parts=2)), np.random.default_rng(0)
    damaged = [whole[:count] for count in range(0, len(whole), 7)]
    for _ in range(500):
        content = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            content[place] = rng.integers(256)
        damaged.append(bytes(content))
    read = 0
    for content in damaged:
        try:
            piece = read_midi(content, "t.mid")
        except BadItem:
            continue
        read += 1
        assert all(0 <= note.start < note.end and 0 <= note.pitch < 128 for part in piece.parts for note in part.notes)
    assert read > 50


def test_senseless_meters_and_tempos_are_left_out() -> None:
    events = (b"\0", meta(0x58, b"\0\2\0\0"), b"\0", meta(0x51, b"\0\0\1"), b"\0", ON, b"\x10", OFF)
    piece = read_midi(midi(*events), "t.mid")
    assert piece.meters == ((0, meter_of("4/4")),) and piece.tempos == ((0, 120.0),) and len(piece.remarks) == 2


def test_a_note_without_an_end_ends_with_its_track() -> None:
    piece = read_midi(midi(b"\0", ON, b"\x60", meta(0x2F, b"")), "t.mid")
    assert piece.parts[0].notes == (Note(0, 96, 60),) and piece.remarks


def test_more_parts_than_channels() -> None:
    parts = tuple(Part(f"{number}", (Note(0, 10, number),)) for number in range(40))
    assert read_midi(write_midi(Piece("", 480, parts)), "t.mid").parts == parts


def test_events_of_a_track_are_in_order() -> None:
    assert track_of([(5, 0, b"b"), (0, 0, b"a")], 9) == b"\0a\5b\4" + meta(0x2F, b"")

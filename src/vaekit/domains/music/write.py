"""Write excerpts as one piece: a MIDI file, what it sounds like, and a drawing."""

from collections.abc import Sequence
from pathlib import Path

from vaekit.atomic import atomic_file
from vaekit.domains.music.excerpts import DRUMS, Excerpt
from vaekit.domains.music.midi_files import write_midi
from vaekit.domains.music.pieces import COMMON, TEMPO, Note, Part, Piece, meter_of

TICKS = 480
"""Of a quarter note, in files that are written, if steps are whole numbers of ticks."""


def joined(excerpts: Sequence[Excerpt]) -> tuple[Piece, list[tuple[int, str]]]:
    """Excerpts one after the other as a piece, with a part for each voice, and markers where they begin."""
    per_quarter = {excerpt.per_quarter for excerpt in excerpts} or {1}
    resolution = TICKS if all(TICKS % count == 0 for count in per_quarter) else TICKS * max(per_quarter)
    notes: dict[tuple[bool, int], list[Note]] = {}
    meters, tempos = {0: COMMON}, {0: TEMPO}
    markers, start = list[tuple[int, str]](), 0
    for number, excerpt in enumerate(excerpts, 1):
        ticks = resolution // excerpt.per_quarter
        meters[start], tempos[start] = meter_of(excerpt.meter), excerpt.tempo
        markers.append((start, f"{number}"))
        for voice, note in excerpt.notes():
            placed = Note(start + note.start * ticks, start + note.end * ticks, note.pitch)
            notes.setdefault((excerpt.kind == DRUMS, voice), []).append(placed)
        start += len(excerpt.steps) * ticks
    parts = [
        Part("drums" if drums else f"voice {voice + 1}", tuple(sorted(each)), drums)
        for (drums, voice), each in sorted(notes.items())
    ]
    return Piece("", resolution, tuple(parts), tuple(meters.items()), tuple(tempos.items())), markers


def write_excerpts(excerpts: Sequence[Excerpt], path: Path) -> None:
    """Write excerpts one after the other as a MIDI file.

    Raises:
        CannotWrite: for example, the disk is full.
    """
    piece, markers = joined(excerpts)
    with atomic_file(path) as part:
        part.write_bytes(write_midi(piece, markers=markers))

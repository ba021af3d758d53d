"""Write excerpts: a MIDI file of all, and beside it what they sound like, how they look, and a page with players."""

from collections.abc import Sequence
from pathlib import Path

from vaekit.atomic import atomic_file
from vaekit.domains.music.drawings import COLUMNS, sheet_png
from vaekit.domains.music.excerpts import DRUMS, Excerpt
from vaekit.domains.music.midi_files import write_midi
from vaekit.domains.music.page import Cell, page
from vaekit.domains.music.pieces import COMMON, TEMPO, Note, Part, Piece, meter_of
from vaekit.domains.music.sound import render, wav

TICKS = 480
"""Of a quarter note, in files that are written, if steps are whole numbers of ticks."""


def joined(excerpts: Sequence[Excerpt]) -> tuple[Piece, list[tuple[int, str]]]:
    """Excerpts one after the other as a piece, with a part for each voice, and markers where they begin."""
    per_quarter = {excerpt.per_quarter for excerpt in excerpts}
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


def write_rows(rows: Sequence[tuple[str, Sequence[Cell]]], path: Path, columns: int = COLUMNS) -> list[Path]:
    """Write excerpts into a MIDI file one after the other, and beside it into .wav, .png and .html files.

    Args:
        rows: of the page: their names, and captions with excerpts.
        path: of the MIDI file.
        columns: of the drawing.

    Returns:
        The files.

    Raises:
        CannotWrite: for example, the disk is full.
    """
    excerpts = [excerpt for _, cells in rows for _, excerpt in cells]
    piece, markers = joined(excerpts)
    contents = {
        path: write_midi(piece, markers=markers),
        path.with_suffix(".wav"): wav(render(excerpts)),
        path.with_suffix(".png"): sheet_png(excerpts, columns),
        path.with_suffix(".html"): page(path.stem, rows).encode(),
    }
    for target, content in contents.items():
        with atomic_file(target) as part:
            part.write_bytes(content)
    return list(contents)


def numbered(excerpts: Sequence[Excerpt], titles: Sequence[str] = ()) -> list[tuple[str, Sequence[Cell]]]:
    """Excerpts as rows of a page, numbered and with what is known of each."""
    captions = [*titles, *[""] * len(excerpts)]
    cells = [(f"{number}", (captions[number - 1], each)) for number, each in enumerate(excerpts, 1)]
    return [(name, [cell]) for name, cell in cells]

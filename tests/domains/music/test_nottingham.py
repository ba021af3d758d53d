"""A whole collection of tunes: MIDI -> tokens -> MIDI loses nothing that is on the grid."""

from pathlib import Path

import pytest
import torch
from small_music import random_piece

from vaekit.datasets.dataset import Parsed
from vaekit.domains.music.abc_files import read_abc
from vaekit.domains.music.excerpts import MELODY, Excerpt
from vaekit.domains.music.fit import fit
from vaekit.domains.music.grids import Grid, grids_of
from vaekit.domains.music.midi_files import read_midi, write_midi
from vaekit.domains.music.pieces import Note, Part, Piece
from vaekit.domains.music.schema import MusicSchema
from vaekit.domains.music.settings import MusicSettings
from vaekit.domains.music.write import joined

FINE = 24
"""Steps of a quarter note with which no tune has two notes in one step."""


def on_grid(piece: Piece, per_quarter: int) -> list[Note]:
    """The notes of a melody, in steps."""
    (part,) = (part for part in piece.parts if not part.chords)
    steps = [[round(tick * per_quarter / piece.resolution) for tick in (note.start, note.end)] for note in part.notes]
    return [Note(start, max(end, start + 1), note.pitch) for (start, end), note in zip(steps, part.notes, strict=True)]


def through_tokens(piece: Piece, schema: MusicSchema) -> Piece:
    """MIDI -> tokens -> MIDI."""
    (grid,), left_out = grids_of(read_midi(write_midi(piece), "t.mid"), MELODY, 1, schema.per_quarter)
    assert not left_out
    x = schema.to_tensor([Parsed("t", grid.whole())])
    again, _ = joined(schema.to_items(x))
    return read_midi(write_midi(again), "t.mid")


def whole(piece: Piece, per_quarter: int) -> tuple[Grid, Excerpt]:
    (grid,), _ = grids_of(piece, MELODY, 1, per_quarter)
    return grid, grid.whole()


def schema_of(excerpts: list[Excerpt], per_quarter: int) -> MusicSchema:
    return fit(MusicSettings(MELODY, 0, per_quarter, length=2**14), excerpts)


@pytest.mark.nightly
def test_nothing_of_nottingham_is_lost(shared_data: Path) -> None:
    tunes = Path(shared_data / "music" / "nottingham" / "ABC_cleaned")
    if not tunes.is_dir():
        pytest.skip("the shared data have no Nottingham tunes")
    pieces = [piece for path in sorted(tunes.glob("*.abc")) for piece in read_abc(path.read_text(), path.name)]
    assert len(pieces) == 1034
    fitting = 0
    for found in pieces:
        assert isinstance(found, Piece), found
        melody = Piece(found.name, found.resolution, (found.parts[0],), found.meters, found.tempos)
        for per_quarter in (4, FINE):
            grid, excerpt = whole(melody, per_quarter)
            if per_quarter == FINE:
                assert not grid.problems and on_grid(melody, FINE) == [note for _, note in excerpt.notes()]
            piece, _ = joined([excerpt])
            schema = schema_of([excerpt], per_quarter)
            assert through_tokens(piece, schema).parts == piece.parts, found.name
            fitting += per_quarter == 4 and not grid.problems
    assert fitting >= 1000, "tunes without two notes in one sixteenth"


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("per_quarter", [4, 12])
def test_nothing_of_a_melody_is_lost(seed: int, per_quarter: int) -> None:
    line = random_piece(seed).parts[0]
    piece = Piece("m", 480, (Part("voice 1", line.notes),))
    _, excerpt = whole(piece, per_quarter)
    schema = schema_of([excerpt], per_quarter)
    assert through_tokens(piece, schema).parts == piece.parts
    x = schema.to_tensor([Parsed("t", excerpt)])
    assert torch.equal(schema.to_tensor([Parsed("t", item) for item in schema.to_items(x)]), x)

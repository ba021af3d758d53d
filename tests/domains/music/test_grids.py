"""Pieces on a grid: notes that are moved, bars that do not fit, voices, rolls and drums."""

import pytest
from small_music import piece, random_piece

from vaekit.domains.music.excerpts import DRUMS, HOLD, MELODY, POLYPHONY, REST, ROLL
from vaekit.domains.music.grids import Grid, grids_of
from vaekit.domains.music.pieces import Note, Part, Piece, meter_of
from vaekit.errors import BadItem

TICKS = 480


def of_notes(*lines: list[Note], drums: bool = False, meters: tuple[tuple[int, str], ...] = ((0, "4/4"),)) -> Piece:
    parts = tuple(Part(f"{number}", tuple(line), drums) for number, line in enumerate(lines))
    return Piece("p", TICKS, parts, tuple((tick, meter_of(text)) for tick, text in meters))


def only(piece: Piece, kind: str, voices: int = 4, per_quarter: int = 4) -> Grid:
    (grid,), left_out = grids_of(piece, kind, voices, per_quarter)
    assert not left_out
    return grid


def test_steps_of_a_melody() -> None:
    grid = only(of_notes([Note(0, 480, 60), Note(720, 840, 62)]), MELODY)
    assert grid.values[:, 0].tolist() == [60, HOLD, HOLD, HOLD, REST, REST, 62, *[REST] * 9]
    assert [bar.size for bar in grid.bars] == [16] and not grid.moved and not grid.problems


def test_notes_beside_the_grid_are_moved_and_counted() -> None:
    grid = only(piece("X:1\nM:4/4\nL:1/4\nK:C\n(3C/D/E/ F3|C4|\n"), MELODY)
    assert grid.values[:4, 0].tolist() == [60, 62, HOLD, 64] and grid.moved == {0: 2}
    finer = only(piece("X:1\nM:4/4\nL:1/4\nK:C\n(3C/D/E/ F3|C4|\n"), MELODY, per_quarter=12)
    assert not finer.moved and len(finer.values) == 96
    human = only(of_notes([Note(5, 470, 60), Note(484, 900, 61)]), MELODY)
    assert not human.moved and human.values[[0, 4], 0].tolist() == [60, 61]


def test_notes_of_one_step_do_not_fit() -> None:
    found = only(piece("X:1\nM:4/4\nL:1/4\nK:C\nC4|(3C/4D/4E/4 F4|C4|\n"), MELODY)
    assert list(found.problems) == [1] and found.problem(1, 1) and not found.problem(0, 1)


def test_overlaps_do_not_fit_and_chords_are_no_melody() -> None:
    line = [Note(1920 * bar, 1920 * bar + 960, 60 + bar) for bar in range(4)]
    grid = only(of_notes(sorted([*line, Note(480, 1920, 70)])), MELODY)
    assert list(grid.problems) == [0] and grid.values[:5, 0].tolist() == [60, HOLD, HOLD, HOLD, 70]
    chords = [note for each in line for note in (each, each._replace(pitch=90))]
    grids, left_out = grids_of(of_notes(line, sorted(chords)), MELODY, 1, 4)
    assert len(grids) == 1 and len(left_out) == 1 and "100" in left_out[0]


def test_bars_at_changes_of_the_meter() -> None:
    notes = [Note(tick, tick + 480, 60) for tick in range(0, 480 * 12, 480)]
    grid = only(of_notes(notes, meters=((0, "4/4"), (1920, "3/4"), (1920 + 1000, "7/64"))), MELODY)
    found = [(bar.start, bar.size, bar.meter) for bar in grid.bars[:3]]
    assert found == [(0, 16, "4/4"), (16, 8, "3/4"), (24, 2, "7/64")]
    assert "3/4" in grid.problems[1] and "7/64" in grid.problems[2]
    assert not grid.problem(0, 1) and grid.problem(0, 2)


def test_an_excerpt_starts_notes_that_sound_on() -> None:
    grid = only(of_notes([Note(0, 1920 + 480, 60)]), MELODY)
    second = grid.excerpt(1, 2)
    assert [value for (value,) in second.steps[:5]] == [60, HOLD, HOLD, HOLD, REST]
    assert len(second.steps) == 32, "the missing bar is filled up"


def test_parts_are_voices_from_the_highest() -> None:
    low, high = [Note(0, 960, 40), Note(960, 1920, 42)], [Note(0, 480, 70), Note(480, 1920, 69)]
    grid = only(of_notes(low, high), POLYPHONY, voices=3)
    assert grid.values[[0, 4, 8]].tolist() == [[70, 40, REST], [69, HOLD, REST], [HOLD, 42, REST]]


def test_chords_are_divided_into_voices() -> None:
    chords = sorted([Note(0, 960, 60), Note(0, 480, 64), Note(0, 1920, 67), Note(480, 960, 65), Note(960, 1920, 59)])
    grid = only(of_notes(chords), POLYPHONY, voices=3)
    assert grid.values[[0, 4, 8]].tolist() == [[67, 64, 60], [HOLD, 65, HOLD], [HOLD, 59, REST]]
    crowded = only(of_notes(chords), POLYPHONY, voices=2)
    assert list(crowded.problems) == [0]


def test_rolls_are_sets() -> None:
    grid = only(of_notes([Note(0, 960, 60)], [Note(480, 960, 72), Note(960, 1440, 60)], [Note(0, 480, 60)]), ROLL, 2)
    assert grid.values[[0, 4, 8, 12]].tolist() == [[60, REST], [72, 60], [60, REST], [REST, REST]]
    assert list(only(of_notes([Note(0, 99, 60)], [Note(0, 99, 62)], [Note(0, 99, 64)]), ROLL, 2).problems) == [0]


def test_drums_are_combinations() -> None:
    drums = [Note(0, 10, 36), Note(0, 10, 42), Note(480, 490, 38), Note(1920, 1930, 81)]
    grid = only(of_notes(sorted(drums), drums=True), DRUMS)
    assert grid.values[[0, 4, 5], 0].tolist() == [0b101, 0b10, 0] and list(grid.problems) == [1]
    grids, left_out = grids_of(of_notes(drums), DRUMS, 1, 4)
    assert not grids and "p" in left_out[0]


def test_lines_of_a_piece() -> None:
    grids, left_out = grids_of(random_piece(0), MELODY, 1, 4)
    assert len(grids) == 2 and not left_out and "part 2" in grids[1].name


def test_too_many_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.domains.music.grids.MOST_BARS", 1000)
    with pytest.raises(BadItem):
        grids_of(of_notes([Note(0, 480 * 200, 60)], meters=((0, "1/64"),)), MELODY, 1, 4)

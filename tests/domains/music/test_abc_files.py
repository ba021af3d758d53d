"""Tunes in ABC notation: lengths, keys, repeats and ties, and text that is no tune."""

import time

import numpy as np
import pytest
from small_music import TUNES, piece

from vaekit.domains.music.abc_bars import RESOLUTION
from vaekit.domains.music.abc_files import read_abc
from vaekit.domains.music.pieces import Piece
from vaekit.errors import BadItem


def notes(body: str, header: str = "M:4/4\nL:1/4\nK:C\n", part: int = 0) -> list[tuple[float, float, int]]:
    """Start and length in quarter notes, and pitch."""
    found = piece(f"X:1\n{header}{body}\n").parts[part].notes
    return [(note.start / RESOLUTION, (note.end - note.start) / RESOLUTION, note.pitch) for note in found]


def pitches(body: str, header: str = "M:4/4\nL:1/4\nK:C\n") -> list[int]:
    return [pitch for _, _, pitch in notes(body, header)]


def test_lengths() -> None:
    lengths = [length for _, length, _ in notes("C2D E/2F/ G//A3/2|z/4 B/4 c3/4d/8")]
    assert lengths == [2, 1, 0.5, 0.5, 0.25, 1.5, 0.25, 0.75, 0.125]


def test_octaves_and_rests() -> None:
    assert notes("C, c c'2") == [(0, 1, 48), (1, 1, 72), (2, 2, 84)]
    assert notes("C z D x|Z2|E") == [(0, 1, 60), (2, 1, 62), (12, 1, 64)]


@pytest.mark.parametrize(
    ("meter", "unit"), [("4/4", 0.5), ("2/4", 0.25), ("6/8", 0.5), ("C", 0.5), ("C|", 0.5), ("2+3/8", 0.25)]
)
def test_the_unit_follows_from_the_meter(meter: str, unit: float) -> None:
    assert notes("C", f"M:{meter}\nK:C\n")[-1][1] == unit


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("C", [65, 71, 72]),
        ("G", [66, 71, 72]),
        ("D", [66, 71, 73]),
        ("F", [65, 70, 72]),
        ("Am", [65, 71, 72]),
        ("A minor", [65, 71, 72]),
        ("F#m", [66, 71, 73]),
        ("Ddor", [65, 71, 72]),
        ("D mix", [66, 71, 72]),
        ("Cb", [64, 70, 71]),
        ("HP", [66, 71, 73]),
        ("none", [65, 71, 72]),
        ("C ^f", [66, 71, 72]),
    ],
)
def test_keys(key: str, expected: list[int]) -> None:
    assert pitches("F B c", f"L:1/4\nK:{key}\n") == expected


def test_accidentals_hold_until_the_end_of_a_bar() -> None:
    assert pitches("^F F f =F F|F", "M:5/4\nL:1/4\nK:G\n") == [66, 66, 78, 65, 65, 66]
    assert pitches("_B2 ^^C2|B2 __D2") == [70, 62, 71, 60]


def test_ties_join_notes_of_a_pitch() -> None:
    assert notes("C2 C-C|C-D2-D|") == [(0, 2, 60), (2, 2, 60), (4, 1, 60), (5, 3, 62)]
    assert notes("C3 ^F-|F2 F2") == [(0, 3, 60), (3, 3, 66), (6, 2, 65)]
    assert notes("C3 C -|C4") == [(0, 3, 60), (3, 5, 60)]


def test_tuplets() -> None:
    starts = [start for start, _, _ in notes("(3CDE (3:2:2FG A2", "M:4/4\nL:1/8\nK:C\n")]
    assert starts == pytest.approx([0, 1 / 3, 2 / 3, 1, 4 / 3, 5 / 3], abs=1e-4)
    assert [length for _, length, _ in notes("(2CD(4EFGA", "M:6/8\nL:1/8\nK:C\n")] == [0.75, 0.75, *[0.375] * 4]


def test_broken_rhythm() -> None:
    assert [length for _, length, _ in notes("C>D E<<F")] == [1.5, 0.5, 0.25, 1.75]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("C4|D4:|", "CDCD"),
        ("C4|:D4:|E4|", "CDDE"),
        ("|:C4|[1D4:|[2E4||F4|", "CDCEF"),
        ("|:C4|1D4:|2E4:|F4|", "CDCEF"),
        ("C4::D4::E4:|", "CCDDEE"),
        ("|:C4|[1,3D4:|[2E4:|F4|", "CDCECDF"),
        ("|:C4|[1-2D4:|[3E4|]F4|", "CDCDCEF"),
        ("|:C4|[1D4:|[2E4||F4|G4:|", "CDCEFGFG"),
        ("C4||D4|]E4[|F4|", "CDEF"),
        ("C4:| |: D4 :|", "CCDD"),
        ("|:C4|[1D4:|E4|", "CDCE"),
    ],
)
def test_repeats(body: str, expected: str) -> None:
    assert "".join("CDEFG"[[60, 62, 64, 65, 67].index(pitch)] for pitch in pitches(body)) == expected


def test_upbeats_keep_bar_lines_in_place() -> None:
    assert [start for start, _, _ in notes("C|D4|E3:|")] == [3, 4, 8, 11, 12, 16]
    assert [start for start, _, _ in notes("D4|E4||C|F4|")] == [0, 4, 11, 12]


def test_bars_of_a_wrong_length_are_remarked() -> None:
    found = piece("X:1\nM:4/4\nL:1/4\nK:C\nC4|D3|E4|F5|G4|\n")
    assert [note.start / RESOLUTION for note in found.parts[0].notes] == [0, 4, 8, 12, 20]
    assert len(found.remarks) == 2 and "2" in found.remarks[0] and "5/4" in found.remarks[1]


def test_chords_are_a_part_of_their_own() -> None:
    assert notes("[CEG]2 [FA]2") == [(0, 2, 67), (2, 2, 69)]
    assert notes("[CEG]2 [FA]2", part=1) == [(0, 2, 60), (0, 2, 64), (2, 2, 65)]
    assert notes("[C/2E/2] D")[:2] == [(0, 0.5, 64), (0.5, 1, 62)]


def test_what_is_no_note_is_passed_over() -> None:
    assert pitches('"Am7" C !trill! {gfe} ~D "^text" .E uF (GA) [r:remark] % comment B') == [60, 62, 64, 65, 67, 69]


def test_fields_in_the_notes_and_headers() -> None:
    found = piece("X:1\nT:A title\nQ:3/8=60\nM:3/4\nL:1/4\nK:C\nCDE|\nM:4/4\nK:D\nFDEF|[M:2/4][L:1/8]FFFF|\n")
    assert [(tick / RESOLUTION, str(meter)) for tick, meter in found.meters] == [(0, "3/4"), (3, "4/4"), (7, "2/4")]
    assert found.tempos == ((0, 90.0),) and "A title" in found.name and found.parts[0].notes[3].pitch == 66


def test_voices_are_parts() -> None:
    found = piece("X:1\nM:4/4\nL:1/4\nK:C\nV:1\nCDEF|\nV:2\nC,4|\nV:1\nG4|\nV:2\nG,4|\n")
    assert [[note.pitch for note in part.notes] for part in found.parts] == [[60, 62, 64, 65, 67], [48, 55]]


def test_tunes_of_a_file() -> None:
    one, two = read_abc(TUNES, "t.abc")
    assert isinstance(one, Piece) and isinstance(two, Piece)
    assert one.name.startswith("t.abc:1") and two.name.startswith("t.abc:2")
    assert one.tempos == ((0, 90.0),) and str(two.meters[0][1]) == "6/8" and not one.remarks


@pytest.mark.parametrize(
    "text",
    [
        "X:1\nK:C\n",
        "X:1\nT:no key\nCDE\n",
        "X:1\nL:0\nK:C\nC\n",
        "X:1\nK:C\nz4|\n",
        "X:1\nM:4/4\nK:C\nC999" + "|:C999|" * 400 + "\n",
        "X:1\nK:C\n" + "|:C|[1-9D:|" * 400,
    ],
)
def test_no_tunes(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.domains.music.abc_bars.MOST_NOTES", 3000)
    (found,) = read_abc(text, "t.abc")
    assert isinstance(found, BadItem) and "t.abc" in str(found)


def test_hostile_text_takes_no_time() -> None:
    started = time.process_time()
    rng = np.random.default_rng(0)
    letters = np.array(list("ABCabc|:[]()12/-^_=<>{}\"!~.zZ \n'V:K%\\"))
    for body in (
        "[" * 50_000,
        "[A:" * 5_000,
        '"' * 100_001,
        "{" * 50_000,
        "(9" * 50_000,
        "|:" * 50_000,
        "-" * 30_000,
    ):
        read_abc(f"X:1\nK:C\nC{body}", "t.abc")
    for _ in range(50):
        read_abc("X:1\nM:4/4\nK:G\n" + "".join(rng.choice(letters, 300)), "t.abc")
    assert time.process_time() - started < 10


def test_too_many_tunes_are_refused() -> None:
    with pytest.raises(BadItem):
        read_abc("X:\n" * 70_000, "t.abc")

"""Text files with one item a line."""

import gzip
from pathlib import Path

import pytest
from refusals import refuses

from vaekit.datasets.dataset import Line, RecordFormat
from vaekit.datasets.open import open_dataset
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.text_lines import TextLines
from vaekit.errors import BadItem, NoTrainingData

LINES = RecordFormat(items="lines", records=(Line,))


def lines_of(path: Path) -> TextLines:
    found = open_dataset(path, LINES, SkipLog()).train
    assert isinstance(found, TextLines)
    return found


def test_empty_lines_are_dropped_and_lines_keep_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes("\ufeffone\r\n\n  two \u2028 half\n\t\nthree".encode())
    found = lines_of(tmp_path / "t.txt")
    assert [found.read(item).text for item in range(len(found))] == ["one", "two \u2028 half", "three"]
    assert [found.key(item) for item in range(3)] == ["t.txt:1", "t.txt:3", "t.txt:5"]


def test_a_nul_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(b"one\ntw\0o\n")
    found = lines_of(tmp_path / "t.txt")
    assert found.read(0).text == "one"
    with refuses(BadItem, "t.txt:2"):
        found.read(1)
    assert found.unchecked(1) == Line("t.txt:2", "tw\0o")


@pytest.mark.parametrize("content", [b"", b" \n\n", b"\0\1\2", b"\xff\1\2\3\4\5\6\n"])
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.dat").write_bytes(content)
    with refuses(NoTrainingData):
        lines_of(tmp_path / "t.dat")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("zipped", [False, True])
def test_encodings(tmp_path: Path, encoding: str, zipped: bool) -> None:
    content = "na\u00efve\n\n\u00e9t\u00e9".encode(encoding)
    path = tmp_path / ("t.en.gz" if zipped else "t.txt")
    path.write_bytes(gzip.compress(content) if zipped else content)
    messages: list[str] = []
    found = open_dataset(path, LINES, SkipLog(say=messages.append)).train
    assert [found.read(item) for item in range(len(found))] == [
        Line(f"{path.name}:1", "na\u00efve"),
        Line(f"{path.name}:3", "\u00e9t\u00e9"),
    ]
    assert len(messages) == (encoding == "cp1252")


def test_mixed_encodings(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes("\u00e9\n".encode() + "\u00e9\n".encode("cp1252"))
    found = lines_of(tmp_path / "t.txt")
    assert [found.read(item).text for item in range(2)] == ["\u00e9", "\u00e9"]


def test_a_line_longer_than_a_block_does_not_end_the_file(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("one\n" + "x y" * 1_500_000 + "\n\ntwo\n")
    found = lines_of(tmp_path / "t.txt")
    assert [found.key(item) for item in range(len(found))] == ["t.txt:1", "t.txt:2", "t.txt:4"]
    assert len(found.read(1).text) == 4_500_000


def test_a_lone_carriage_return_ends_no_line(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(b"a\rb\n" + b"c\r" * 600_000 + b"\nd\r\n")
    found = lines_of(tmp_path / "t.txt")
    assert [found.key(item) for item in range(len(found))] == ["t.txt:1", "t.txt:2", "t.txt:3"]
    assert found.read(0).text == "a\rb" and found.read(2).text == "d"


@pytest.mark.parametrize("many", [1, 300_000])  # in one block, and in several
def test_carriage_returns_end_lines_where_nothing_else_does(tmp_path: Path, many: int) -> None:
    (tmp_path / "t.txt").write_bytes(b"a\r\rb \r" * many + b"c")
    found = lines_of(tmp_path / "t.txt")
    assert len(found) == 2 * many + 1
    assert [found.read(item).text for item in (0, 1, 2 * many)] == ["a", "b", "c"]
    assert [found.key(item) for item in (0, 1, 2 * many)] == ["t.txt:1", "t.txt:3", f"t.txt:{3 * many + 1}"]


def test_a_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.txt.gz").write_bytes(gzip.compress(b"one\n" * 1000)[:-20])
    with refuses(NoTrainingData, "t.txt.gz"):
        lines_of(tmp_path / "t.txt.gz")


def test_a_folder_of_text(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("two\n")
    (tmp_path / "a.txt").write_text("one\n")
    (tmp_path / "c.csv").write_text("no,text\n")
    (tmp_path / "d.csv.gz").write_bytes(gzip.compress(b"no,text\n"))
    (tmp_path / "e.txt.gz").write_bytes(gzip.compress(b"three\n"))
    found = lines_of(tmp_path)
    assert [found.read(item).text for item in range(len(found))] == ["one", "two", "three"]
    assert found.labels("file") == ["a", "b", "e"]

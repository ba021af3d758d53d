"""Text files with one item a line."""

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


@pytest.mark.parametrize(
    ("content", "facts"), [(b"", []), (b" \n\n", []), (b"one\n\xff\xfe\n", ["2"]), (b"\0\1\2", [])]
)
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes, facts: list[str]) -> None:
    (tmp_path / "t.dat").write_bytes(content)
    with refuses(NoTrainingData, *facts):
        lines_of(tmp_path / "t.dat")


def test_a_folder_of_text(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("two\n")
    (tmp_path / "a.txt").write_text("one\n")
    (tmp_path / "c.csv").write_text("no,text\n")
    found = lines_of(tmp_path)
    assert [found.read(item).text for item in range(len(found))] == ["one", "two"]

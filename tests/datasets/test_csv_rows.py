"""Tables in CSV files, sound and broken ones."""

from pathlib import Path

import pytest
from refusals import refuses

from vaekit.datasets.csv_rows import CsvRows
from vaekit.datasets.dataset import RecordFormat, Row
from vaekit.datasets.open import open_dataset
from vaekit.datasets.skip_log import SkipLog
from vaekit.errors import BadItem, NotFound, NoTrainingData

ROWS = RecordFormat(items="rows", records=(Row,))


def rows_of(path: Path) -> CsvRows:
    found = open_dataset(path, ROWS, SkipLog()).train
    assert isinstance(found, CsvRows)
    return found


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_delimiters_line_ends_and_byte_order_marks(tmp_path: Path, delimiter: str, end: str, bom: bytes) -> None:
    lines = [["a", "b é"], ["1", "x"], [], ["2", f'"y{delimiter} {end}z"'], ["", ""]]
    text = end.join(delimiter.join(line) for line in lines)
    found = rows_of(written(tmp_path / "t.csv", bom + text.encode()))
    assert found.columns == ("a", "b é")
    assert [found.read(item).values for item in range(len(found))] == [
        {"a": "1", "b é": "x"},
        {"a": "2", "b é": f"y{delimiter} {end}z"},
    ]
    assert [found.key(item) for item in range(2)] == ["t.csv:2", "t.csv:4"]


def test_a_table_of_one_column_and_any_suffix(tmp_path: Path) -> None:
    found = rows_of(written(tmp_path / "data.txt", "a\n1\n2\n"))
    assert [found.read(item).values["a"] for item in range(2)] == ["1", "2"]


def test_bad_rows_are_refused_when_they_are_read(tmp_path: Path) -> None:
    found = rows_of(written(tmp_path / "t.csv", "a,b\n1,2\n3\n4,5,6\n7,\0\n8,9\n"))
    assert found.read(0).values == {"a": "1", "b": "2"} and found.read(4).values == {"a": "8", "b": "9"}
    for item, line in ((1, "3"), (2, "4"), (3, "5")):
        with refuses(BadItem, f"t.csv:{line}"):
            found.read(item)


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        ("", []),
        ("\n\n", []),
        ("1,2\n3,4\n", ["first line"]),
        ("a,a\n1,2\n", ["'a'"]),
        ("a,\n1,2\n", ["column"]),
        ("a,b\n1,\xe9\n".encode("latin-1"), ["2"]),
        ('a,b\n1,2\n"3,4\n', ["3"]),
        ("a,b\n1,2\n" + "x" * 200_000 + ",2\n", ["3"]),
        (b"\x89PNG\r\n\x1a\n\x00\x00", []),
        (",".join(f"c{i}" for i in range(20_000)) + "\n", ["20,000"]),
    ],
    ids=["empty", "blank", "no header", "repeated", "unnamed", "latin-1", "open quote", "huge field", "image", "wide"],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: str | bytes, facts: list[str]) -> None:
    with refuses(NoTrainingData, *facts):
        rows_of(written(tmp_path / "t.csv", content))


def test_a_header_without_rows_holds_nothing(tmp_path: Path) -> None:
    with refuses(NoTrainingData, "t.csv"):
        rows_of(written(tmp_path / "t.csv", "a,b\n"))


def test_a_path_without_anything(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        rows_of(tmp_path / "none.csv")


def test_a_folder_of_tables_with_a_split(tmp_path: Path) -> None:
    written(tmp_path / "train-0.csv", "a,b\n1,2\n")
    written(tmp_path / "train-1.csv", "a,b\n3,4\n5,6\n")
    written(tmp_path / "test.csv", "a,b\n7,8\n")
    (tmp_path / "notes.md").write_text("no table")
    splits = open_dataset(tmp_path, ROWS, SkipLog())
    assert len(splits.train) == 3 and splits.test is not None and len(splits.test) == 1
    assert splits.train.key(2) == "train-1.csv:3"
    written(tmp_path / "train-1.csv", "a,c\n3,4\n")
    with refuses(NoTrainingData, "train-1.csv"):
        open_dataset(tmp_path, ROWS, SkipLog())


def test_the_digest_follows_from_the_content(tmp_path: Path) -> None:
    one, other = (written(tmp_path / name, "a,b\n1,2\n") for name in ("1.csv", "2.csv"))
    assert rows_of(one).digest == rows_of(other).digest
    assert rows_of(written(other, "a,b\n1,3\n")).digest != rows_of(one).digest

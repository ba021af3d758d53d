"""Tables in CSV files, sound and broken ones."""

import gzip
import pickle
from pathlib import Path

import numpy as np
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


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
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
        (b"a,b\n\x89\x00,\xe9\n", []),
        (bytes(1000), []),
        (gzip.compress(b"a,b\n1,2\n" * 999)[:-9], []),
        ('a,b\n1,2\n"3,4\n', ["3"]),
        ("a,b\n1,2\n" + "x" * 200_000 + ",2\n", ["3"]),
        (b"\x89PNG\r\n\x1a\n\x00\x00", []),
        (",".join(f"c{i}" for i in range(20_000)) + "\n", ["20,000"]),
        (",".join(f"c{i}" for i in range(100_000)) + "\n" + "1," * 99_999 + "1\n", ["100,000"]),
    ],
    ids=[
        "empty",
        "blank",
        "no header",
        "repeated",
        "unnamed",
        "binary",
        "zeros",
        "cut gzip",
        "open quote",
        "huge field",
        "image",
        "wide",
        "very wide",
    ],
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


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "cp1252", "latin-1", "utf-8-sig"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    content = "größe;größe 2\n1;é\n2;ü\n".encode(encoding)
    said: list[str] = []
    path = written(tmp_path / "t.csv", content)
    found = open_dataset(path, ROWS, SkipLog(say=said.append)).train
    assert [found.read(item).values for item in range(2)] == [  # type: ignore[union-attr]
        {"größe": "1", "größe 2": "é"},
        {"größe": "2", "größe 2": "ü"},
    ]
    assert bool(said) == (encoding in ("cp1252", "latin-1"))


def test_single_bytes_that_are_not_utf_8(tmp_path: Path) -> None:
    found = rows_of(written(tmp_path / "t.csv", "a,b\né,".encode() + b"\x80\x81\n"))
    assert found.read(0).values == {"a": "é", "b": "€\x81"}
    found = rows_of(written(tmp_path / "t.csv", b"a,b\n" + b"1,2\n" * 9 + b"\0,1\n\xe9,2\n"))
    assert found.read(10).values == {"a": "é", "b": "2"} and list(found.chunk(0, 11).problems) == [9]


def test_gzipped_tables_and_lines_that_name_the_delimiter(tmp_path: Path) -> None:
    found = rows_of(written(tmp_path / "t.csv.gz", gzip.compress(b"sep=;\na;b,c\n1;2\n")))
    assert found.read(0).values == {"a": "1", "b,c": "2"} and found.key(0) == "t.csv.gz:3"


def test_chunks_and_rows_agree(tmp_path: Path) -> None:
    content = (
        "n,t,code,id,gap\n1.50,red,007,9007199254740993,NA\n2,,12,1,\n3\n-inf,x,1,2,4\n\n4,\0,1,2,3\n5,1_0,0.5,3,?\n"
    )
    found = rows_of(written(tmp_path / "{t}.csv", content))
    chunk = found.chunk(0, len(found))
    assert list(chunk.names) == [found.key(item) for item in range(6)] and list(chunk.problems) == [2, 4]
    for item, reason in chunk.problems.items():
        with refuses(BadItem, f"{{t}}.csv:{(4, 7)[item > 2]}") as caught:
            found.read(item)
        assert str(caught.value) == reason
    columns = {name: column.tolist() for name, column in chunk.columns.items()}
    assert columns["t"] == ["red", None, None, "x", None, "1_0"]
    assert columns["code"] == ["007", "12", None, "1", None, "0.5"] and columns["id"][0] == "9007199254740993"
    np.testing.assert_array_equal(columns["n"], [1.5, 2, np.nan, -np.inf, np.nan, 5])
    np.testing.assert_array_equal(columns["gap"], [np.nan] * 3 + [4.0] + [np.nan] * 2)
    part = found.chunk(3, 99)
    assert list(part.names) == list(chunk.names)[3:] and list(part.problems) == [1]
    assert pickle.loads(pickle.dumps(found)).chunk(0, 1).columns["n"].tolist() == [1.5]


def test_decimal_commas(tmp_path: Path) -> None:
    content = "a;b;c;d\n-1.234,5;1.234;3,14;1\n;2,5;x;2\nNA;3;1,5;3\n"
    found = rows_of(written(tmp_path / "t.csv", content))
    assert found.read(0).values == {"a": "-1234.5", "b": "1234", "c": "3,14", "d": "1"}
    columns = found.chunk(0, 3).columns
    assert columns["a"][0] == -1234.5 and columns["b"].tolist() == [1234, 2.5, 3]
    assert columns["c"].tolist() == ["3,14", "x", "1,5"]
    quoted = rows_of(written(tmp_path / "q.csv", 'a,b\n"1,5",2\n"2,5",3\n'))
    assert quoted.chunk(0, 2).columns["a"].tolist() == ["1,5", "2,5"]


def test_last_lines_without_values_are_no_rows_and_others_are(tmp_path: Path) -> None:
    found = rows_of(written(tmp_path / "t.csv", "a;b\n1;2\n;\n3;4\n;\n;\n\n"))
    assert len(found) == 3 and found.read(1).values == {"a": "", "b": ""} and found.key(2) == "t.csv:4"


def test_a_folder_with_columns_of_numbers_and_texts(tmp_path: Path) -> None:
    written(tmp_path / "1.csv", "a,b\n1,2\n")
    written(tmp_path / "2.csv", "a;b\nx;3\n1\n")
    chunk = rows_of(tmp_path).chunk(0, 9)
    assert chunk.columns["a"].tolist() == ["1", "x", None] and list(chunk.problems) == [2]
    assert list(chunk.names) == ["1.csv:2", "2.csv:2", "2.csv:3"]

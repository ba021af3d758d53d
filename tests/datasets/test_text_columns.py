"""Columns of text in tables."""

import gzip
from pathlib import Path

import pytest
from refusals import refuses

from vaekit.datasets.dataset import Line, RecordFormat, TextRow
from vaekit.datasets.labels import read_labels
from vaekit.datasets.open import open_dataset
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.text_columns import TextRows
from vaekit.errors import BadItem, NoTrainingData

SENTENCES = RecordFormat("sentences", (Line, TextRow), columns=("text", "sentence"))


def opened(path: Path) -> TextRows:
    found = open_dataset(path, SENTENCES, SkipLog()).train
    assert isinstance(found, TextRows)
    return found


@pytest.mark.parametrize(
    ("header", "column"),
    [
        ("label,text,n", "text"),
        ("label,Sentence,n", "Sentence"),
        ("label,sentence,text", "text"),
        ("label,review,n", None),
        ("1st,review,n", None),
    ],
)
def test_the_column_of_text(tmp_path: Path, header: str, column: str | None) -> None:
    (tmp_path / "t.csv").write_text(f"{header}\ngood,we liked it,1\nbad,so so,2\n")
    assert opened(tmp_path / "t.csv").column == column


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz"])
def test_the_only_column_of_text(tmp_path: Path, name: str) -> None:
    content = b"stars,review\n5,we liked it\n1,so so\n"
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    found = opened(tmp_path / name)
    assert found.read(1) == TextRow(f"{name}:3", {"stars": "1", "review": "so so"}, "review")
    assert read_labels(found, "stars") == ["5", "1"] and found.label_names() == ["stars"]


def test_parquet_and_a_folder_of_it(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    for name, text in (("a.parquet", "one"), ("b.parquet", "two")):
        parquet.write_table(arrow.table({"text": [text], "label": ["x"]}), tmp_path / name)
    found = opened(tmp_path)
    assert [found.read(item).values["text"] for item in range(2)] == ["one", "two"]
    assert found.digest and found.kind == opened(tmp_path / "a.parquet").kind


def test_rows_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,label\none,a\nt,w,o\n")
    found = opened(tmp_path / "t.csv")
    with refuses(BadItem, "t.csv:3", "3", "2"):
        found.read(1)
    assert found.unchecked(1) == TextRow("t.csv:3", {}, None)
    assert found.unchecked(0) == found.read(0)


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,label\n")
    with refuses(NoTrainingData, "t.csv"):
        opened(tmp_path / "t.csv")

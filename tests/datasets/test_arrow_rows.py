"""Rows of Parquet, Arrow and Feather files."""

import datetime
import json
import pickle
from pathlib import Path

import pytest
from refusals import refuses

from vaekit.datasets.arrow_rows import rows_of_files
from vaekit.datasets.column_rows import ColumnRows
from vaekit.datasets.dataset import RecordFormat, Row
from vaekit.datasets.labels import read_labels
from vaekit.datasets.open import open_dataset
from vaekit.datasets.row_stream import open_row_stream
from vaekit.datasets.skip_log import SkipLog
from vaekit.errors import NoTrainingData

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
ROWS = RecordFormat(items="rows", records=(Row,))


def rows_of(path: Path) -> ColumnRows:
    found = open_dataset(path, ROWS, SkipLog()).train
    assert isinstance(found, ColumnRows)
    return found


def table(first: int = 0) -> "pa.Table":
    columns = {
        "n": pa.array([first, None, 2], pa.int16()),
        "u": pa.array([2**64 - 1, 1, 2], pa.uint64()),
        "h": pa.array([0.5, None, 1.5], pa.float16()),
        "t": pa.array(["a", None, "b"]).dictionary_encode(),
        "d": pa.array([datetime.date(2024, 5, 17), None, None]),
        "z": pa.array([datetime.datetime(2024, 5, 17, 1, tzinfo=datetime.UTC)] * 3, pa.timestamp("us", "UTC")),
        "label": pa.array(["x", "y", None], pa.large_string()),
    }
    return pa.table(columns)


@pytest.mark.parametrize("suffix", ["parquet", "arrow", "feather"])
def test_a_folder_of_files_with_a_split(tmp_path: Path, suffix: str) -> None:
    for name, first in (("train-0", 0), ("train-1", 7), ("test", 9)):
        path = tmp_path / f"{name}.{suffix}"
        if suffix == "parquet":
            parquet.write_table(table(first), path)
        elif suffix == "arrow":
            with pa.ipc.new_stream(path, table().schema) as writer:
                writer.write_table(table(first))
        else:
            pytest.importorskip("pyarrow.feather").write_feather(table(first), path, compression="lz4")
    splits = open_dataset(tmp_path, ROWS, SkipLog())
    assert splits.test is not None and splits.test.key(0).startswith("test") and len(splits.test) == 3
    rows = splits.train
    assert isinstance(rows, ColumnRows) and len(rows) == 6 and rows.key(4) == f"train-1.{suffix}[1]"
    values = rows.read(3).values
    assert values == {
        **{"n": "7", "u": "18446744073709551615", "h": "0.5", "t": "a", "d": "2024-05-17", "label": "x"},
        "z": values["z"],
    }
    assert values["z"].startswith("2024-05-17T01:00:00") and rows.read(1).values["n"] == ""
    chunk = rows.chunk(2, 5)
    assert chunk.columns["n"].tolist()[:2] == [2, 7] and chunk.columns["t"].tolist() == ["b", "a", None]
    assert list(chunk.names) == [rows.key(item) for item in (2, 3, 4)]
    assert read_labels(rows) == ["x", "y", None] * 2 and "file" in rows.label_names()
    copy = pickle.loads(pickle.dumps(rows))
    assert copy.read(3) == rows.read(3)
    assert len(pickle.dumps(rows)) < 10_000


def test_other_columns_in_another_file_are_refused(tmp_path: Path) -> None:
    parquet.write_table(table(), tmp_path / "1.parquet")
    parquet.write_table(table().drop_columns(["n"]), tmp_path / "2.parquet")
    with refuses(NoTrainingData, "2.parquet"):
        rows_of(tmp_path)


@pytest.mark.parametrize(
    ("columns", "facts"),
    [
        ({"a": [[1], [2]]}, ["a", "list"]),
        ({"a": [{"b": 1}]}, ["a", "struct"]),
        ({"a": [b"\x89PNG"]}, ["a", "binary"]),
        ({}, []),
        ({f"c{place}": [0] for place in range(20_000)}, ["20,000"]),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, columns: dict[str, list[object]], facts: list[str]) -> None:
    with pa.ipc.new_file(tmp_path / "t.arrow", pa.table(columns).schema) as writer:
        writer.write_table(pa.table(columns))
    with refuses(NoTrainingData, "t.arrow", *facts):
        rows_of(tmp_path / "t.arrow")


def test_a_table_without_rows(tmp_path: Path) -> None:
    parquet.write_table(table()[:0], tmp_path / "t.parquet")
    with refuses(NoTrainingData, "t.parquet"):
        rows_of(tmp_path / "t.parquet")


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"])
    parquet.write_table(twice, tmp_path / "t.parquet")
    with refuses(NoTrainingData, "'a'"):
        rows_of(tmp_path / "t.parquet")


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    parquet.write_table(table(), tmp_path / "t.parquet")
    content = bytearray((tmp_path / "t.parquet").read_bytes())
    content[4 : len(content) // 2] = bytes(len(content) // 2 - 4)
    (tmp_path / "t.parquet").write_bytes(content)
    with refuses(NoTrainingData, "t.parquet"):
        rows_of(tmp_path / "t.parquet")
    with pa.ipc.new_stream(tmp_path / "t.arrow", table().schema) as writer:
        writer.write_table(table())
    content = bytearray((tmp_path / "t.arrow").read_bytes())
    for place in range(600, len(content) - 40, 8):
        content[place : place + 4] = b"\xff\xff\xff\x7f"
    (tmp_path / "t.arrow").write_bytes(content)
    with refuses(NoTrainingData, "t.arrow"):
        rows_of(tmp_path / "t.arrow")


def test_a_file_that_changed_is_not_unpickled(tmp_path: Path) -> None:
    parquet.write_table(table(), tmp_path / "t.parquet")
    pickled = pickle.dumps(rows_of_files([tmp_path / "t.parquet"], "t", ROWS))
    parquet.write_table(table()[:1].drop_columns(["label"]), tmp_path / "t.parquet")
    with refuses(NoTrainingData, "t[0]"):
        pickle.loads(pickled)


def test_what_save_to_disk_wrote(tmp_path: Path) -> None:
    with pa.ipc.new_stream(tmp_path / "data-00000-of-00001.arrow", table().schema) as writer:
        writer.write_table(table())
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    assert rows_of(tmp_path).read(2).values["t"] == "b"


def test_the_index_of_a_pandas_frame_is_no_column(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    pd.DataFrame({"a": [1, 2]}, index=["x", "y"]).to_parquet(tmp_path / "t.parquet")
    assert rows_of(tmp_path / "t.parquet").columns == ("a",)
    with open_row_stream(tmp_path / "t.parquet", SkipLog()) as stream:
        assert [list(chunk.columns) for chunk in stream.chunks(9)] == [["a"]] and stream.columns == ("a",)


def test_types_that_are_no_cells_are_refused_in_streams(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"a": [1], "b": [[1]]}), tmp_path / "t.parquet")
    with refuses(NoTrainingData, "t.parquet", "b"), open_row_stream(tmp_path / "t.parquet", SkipLog()) as stream:
        list(stream.chunks(9))

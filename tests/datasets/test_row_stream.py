"""Tables that are read once, in flat memory."""

import gzip
import io
import os
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from refusals import refuses

from vaekit.datasets.dataset import RecordFormat, Row
from vaekit.datasets.open import open_dataset
from vaekit.datasets.row_chunks import Chunked, RowChunk, joined
from vaekit.datasets.row_stream import open_row_stream
from vaekit.datasets.skip_log import SkipLog
from vaekit.errors import NotFound, NoTrainingData

ROWS = RecordFormat(items="rows", records=(Row,))


def streamed(path: Path, rows: int = 1000) -> list[RowChunk]:
    """All chunks of a file."""
    with open_row_stream(path, SkipLog()) as stream:
        chunks = list(stream.chunks(rows))
        assert stream.fraction == 1 and all(len(chunk) <= rows for chunk in chunks)
        assert all(tuple(chunk.columns) == stream.columns for chunk in chunks)
    return chunks


def assert_same(one: RowChunk, other: RowChunk) -> None:
    assert list(one.names) == list(other.names) and dict(one.problems) == dict(other.problems)
    for name, column in one.columns.items():
        assert column.dtype == other.columns[name].dtype
        if column.dtype == object:
            assert column.tolist() == other.columns[name].tolist()
        else:
            np.testing.assert_array_equal(column, other.columns[name])


def table(rows: int) -> dict[str, list[Any]]:
    """Columns of several types with missing cells."""
    rng = np.random.default_rng(0)
    real = rng.normal(size=rows) * 10.0 ** rng.integers(-300, 300, rows)
    kind = [None if number % 7 == 0 else f"kind {number % 3}" for number in range(rows)]
    return {"real": real.tolist(), "count": list(range(rows)), "gap": [None, *real[1:].tolist()], "kind": kind}


def csv_text(columns: dict[str, list[Any]], mark: str = ",", quote: str = "") -> str:
    """A table as CSV."""
    rows = zip(*columns.values(), strict=True)
    lines = [mark.join("" if cell is None else f"{quote}{cell}{quote}" for cell in row) for row in [columns, *rows]]
    return "\n".join(lines) + "\n"


def saved(path: Path, columns: dict[str, list[Any]]) -> Path:
    """Write a table in the format of the suffix."""
    name = path.name
    if ".csv" in name:
        content = csv_text(columns, quote='"' if "quoted" in name else "").encode()
        path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        return path
    if path.suffix in (".npy", ".npz"):
        values = np.array([columns["real"], columns["count"], columns["real"]]).T
        values = np.asfortranarray(values) if "columns" in name else np.ascontiguousarray(values)
        np.save(path, values) if path.suffix == ".npy" else np.savez_compressed(path, X=values, y=values[:, 0])
        return path
    pa = pytest.importorskip("pyarrow")
    arrow = pa.table(columns)
    if path.suffix == ".parquet":
        pytest.importorskip("pyarrow.parquet").write_table(arrow, path, row_group_size=700)
    else:
        new = pa.ipc.new_stream if "stream" in name else pa.ipc.new_file
        with new(path, arrow.schema) as writer:
            writer.write_table(arrow, max_chunksize=700)
    return path


@pytest.mark.parametrize(
    "name",
    [
        *("t.csv", "quoted.csv", "t.csv.gz", "t.npy", "columns.npy", "t.npz", "columns.npz"),
        *("t.parquet", "t.arrow", "stream.arrow", "t.feather"),
    ],
)
def test_a_stream_has_the_rows_of_the_data_set(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / name, table(2000))
    dataset = open_dataset(path, ROWS, SkipLog()).train
    assert isinstance(dataset, Chunked) and len(dataset) == 2000
    chunks = streamed(path)
    assert_same(joined(chunks, list(chunks[0].columns)), dataset.chunk(0, 2000))
    row = dataset.read(1234)
    assert isinstance(row, Row)
    assert float(next(iter(row.values.values()))) == table(2000)["real"][1234]


def test_numbers_are_the_same_with_and_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    columns = table(3000) | {"odd": [[" 1", "1e400", "-nan", "5.", "1e-400", "+3"][i % 6] for i in range(3000)]}
    columns["large"] = [2**53 + i for i in range(3000)]
    columns["code"] = [f"{i:05}" if i > 2500 else f"{i + 10_000}" for i in range(3000)]
    path = tmp_path / "t.csv"
    path.write_text(csv_text(columns))
    fast = streamed(path, 500)
    monkeypatch.setattr("vaekit.datasets.csv_columns.parsed_columns", lambda *_: None)
    slow = streamed(path, 500)
    assert len(fast) == len(slow) == 6
    for one, other in zip(fast, slow, strict=True):
        assert_same(one, other)
    assert fast[0].columns["code"].dtype == np.float64 and fast[-1].columns["code"][-1] == "02999"


def test_bad_rows_stay_in_place(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "1,2\n" * 500 + "3\n4,5,6\n" + "7,8\n" * 500 + "9,\0\n")
    chunks = streamed(path)
    whole = joined(chunks, ["a", "b"])
    assert list(whole.problems) == [500, 501, 1002] and len(whole) == 1003
    assert "t.csv:502" in whole.problems[500] and np.isnan(whole.columns["a"][[500, 501]]).all()
    assert whole.columns["a"][502] == 7


def test_a_column_that_changes_its_type(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "1,x\n" * 1000 + "two,3\n" * 1000)
    first, second = streamed(path)
    assert first.columns["a"].dtype == np.float64 and second.columns["a"].tolist() == ["two"] * 1000
    assert first.columns["b"].tolist() == ["x"] * 1000 and second.columns["b"].tolist() == [3.0] * 1000


def test_decimal_commas_once_seen(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a;b\n" + "1,5;x\n" * 1000 + "1.234;y\n" * 1000)
    first, second = streamed(path)
    assert first.columns["a"].tolist() == [1.5] * 1000 and second.columns["a"].tolist() == [1234.0] * 1000


def test_decimal_commas_in_a_column_that_had_texts(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a;b\n" + "x;1\n" * 1000 + "1,5;2\n" * 1000)
    first, second = streamed(path)
    assert first.columns["a"].tolist() == ["x"] * 1000 and second.columns["a"].tolist() == [1.5] * 1000


def test_a_quoted_value_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.datasets.text_blocks.BLOCK", 16)
    path = tmp_path / "t.csv"
    path.write_bytes('a,b\r\n1,"x,é\r\n""y"\r\n2,z\r\n\r\n3,"ö\n\n\n\nw"\r\n,\r\n'.encode())
    whole = joined(streamed(path), ["a", "b"])
    assert whole.columns["a"].tolist() == [1, 2, 3] and whole.columns["b"].tolist() == ['x,é\r\n"y', "z", "ö\n\n\n\nw"]
    assert list(whole.names) == ["t.csv:2", "t.csv:4", "t.csv:6"]


@pytest.mark.parametrize("name", ["t.csv", "t.npy", "columns.npy", "t.npz"])
def test_memory_is_flat(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.datasets.text_blocks.BLOCK", 2**14)
    path = saved(tmp_path / name, table(30_000))
    with open_row_stream(path, SkipLog()) as stream:
        chunks = stream.chunks(500)
        next(chunks)
        tracemalloc.start()
        fractions = [stream.fraction for _ in chunks]
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
        tracemalloc.stop()
    assert sorted(fractions) == fractions and 0 < fractions[0] < 0.2


@pytest.mark.parametrize("name", ["t.csv.gz", "t.npy", "t.npz", "t.parquet", "t.arrow", "stream.arrow"])
@pytest.mark.parametrize("share", [0.1, 0.6, 0.97])
def test_truncated_files_are_refused(tmp_path: Path, name: str, share: float) -> None:
    path = saved(tmp_path / name, table(2000))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with refuses(NoTrainingData, name):
        streamed(path)
    with refuses(NoTrainingData, name):
        open_dataset(path, ROWS, SkipLog())


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with refuses(NotFound, "none.csv"):
        open_row_stream(tmp_path / "none.csv", SkipLog())
    with refuses(NotFound, "t.csv"):
        open_row_stream(tmp_path / "a" / "t.csv", SkipLog())
    with refuses(NoTrainingData, tmp_path.name):
        open_row_stream(tmp_path, SkipLog())
    os.mkfifo(tmp_path / "pipe.csv")
    with refuses(NoTrainingData, "pipe.csv"):
        open_row_stream(tmp_path / "pipe.csv", SkipLog())
    for name, content in (("e.csv", b""), ("e.parquet", b""), ("x.bin", bytes(999)), ("x.npy", b"\x93NUMPY\x01\x00")):
        (tmp_path / name).write_bytes(content)
        with refuses(NoTrainingData, name):
            open_row_stream(tmp_path / name, SkipLog())


def test_zip_files_without_rows_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("readme.txt", "text")
    np.savez(tmp_path / "b.npz", left=np.zeros((2, 2)), right=np.zeros((2, 2)))
    np.savez(tmp_path / "c.npz", x=np.array([[{}]], object))
    for name in ("a.zip", "b.npz", "c.npz"):
        with refuses(NoTrainingData, name):
            open_row_stream(tmp_path / name, SkipLog())


def test_a_row_without_end(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\n1,2\n" + b"x" * (2**24 + 2**21))
    with refuses(NoTrainingData, "t.csv", "3"):
        streamed(path)


def test_an_npy_in_memory_has_no_other_bytes(tmp_path: Path) -> None:
    content = io.BytesIO()
    np.save(content, np.zeros((3, 2)))
    (tmp_path / "t.npy").write_bytes(content.getvalue())
    assert joined(streamed(tmp_path / "t.npy", 2), ["x0", "x1"]).columns["x1"].tolist() == [0.0] * 3

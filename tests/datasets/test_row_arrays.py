"""Rows in npy and npz files."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from refusals import refuses

from vaekit.datasets.column_rows import ColumnRows
from vaekit.datasets.dataset import Dataset, RecordFormat, Row
from vaekit.datasets.labels import label_names, read_labels
from vaekit.datasets.open import open_dataset
from vaekit.datasets.row_stream import open_row_stream
from vaekit.datasets.skip_log import SkipLog
from vaekit.errors import NoTrainingData

ROWS = RecordFormat(items="rows", records=(Row,))


def rows_of(path: Path) -> ColumnRows:
    found = open_dataset(path, ROWS, SkipLog()).train
    assert isinstance(found, ColumnRows)
    return found


@pytest.mark.parametrize("header", [None, "columns", "feature_names"])
def test_labels_and_names_in_an_npz(tmp_path: Path, header: str | None) -> None:
    names = {} if header is None else {header: np.array(["height", "width"])}
    np.savez(tmp_path / "t.npz", X=np.array([[1, 2.5], [np.nan, 4]]), y=np.array([0, 1]), **names)
    rows = rows_of(tmp_path / "t.npz")
    columns = ["x0", "x1"] if header is None else ["height", "width"]
    assert list(rows.columns) == columns and rows.read(1).values == dict(zip(columns, ["", "4"], strict=True))
    assert read_labels(rows) == ["0", "1"] and label_names(rows) == [*columns, "y"]
    with open_row_stream(tmp_path / "t.npz", SkipLog()) as stream:
        assert list(stream.columns) == columns
        assert [chunk.columns[columns[1]].tolist() for chunk in stream.chunks(1)] == [[2.5], [4.0]]
    assert read_labels(pickle.loads(pickle.dumps(rows))) == ["0", "1"]


def test_both_splits_of_an_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", x_train=np.eye(3), x_test=np.zeros((2, 3)), y_train=np.arange(3), y_test=np.arange(2))
    splits = open_dataset(tmp_path / "t.npz", ROWS, SkipLog())
    assert splits.test is not None and read_labels(splits.test) == ["0", "1"] and len(splits.train) == 3
    assert splits.train.key(0) != splits.test.key(0)
    said: list[str] = []
    with open_row_stream(tmp_path / "t.npz", SkipLog(say=said.append)) as stream:
        assert sum(map(len, stream.chunks(2))) == 3
    assert len(said) == 1


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "u1", "?", ">f4", "U3"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_types_and_layouts(tmp_path: Path, dtype: str, order: Any) -> None:
    values = np.asarray([[0, 1], [1, 0], [1, 1]], dtype, order=order)
    np.save(tmp_path / "t.npy", values)
    rows: Dataset = pickle.loads(pickle.dumps(rows_of(tmp_path / "t.npy")))
    texts = [["True" if cell else "False" for cell in row] for row in values] if dtype == "?" else None
    texts = texts or [[str(int(cell)) for cell in row] for row in values]
    assert [list(rows.read(row).values.values()) for row in range(3)] == texts  # type: ignore[union-attr]
    with open_row_stream(tmp_path / "t.npy", SkipLog()) as stream:
        chunks = list(stream.chunks(2))
    assert [len(chunk) for chunk in chunks] == [2, 1]
    assert chunks[1].columns["x0"].dtype == (object if dtype in ("?", "U3") else np.float64)
    assert str(chunks[1].columns["x1"][0]) == {"?": "True", "U3": "1"}.get(dtype, "1.0")


def test_integers_are_exact(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", np.array([[2**62 + 1, -(2**63)], [1, 2]]))
    rows = rows_of(tmp_path / "t.npy")
    assert rows.read(0).values == {"x0": str(2**62 + 1), "x1": str(-(2**63))}
    assert rows.chunk(0, 2).columns["x0"].tolist() == [str(2**62 + 1), "1"]


@pytest.mark.parametrize(
    ("values", "facts"),
    [
        (np.zeros(3), ["(3,)"]),
        (np.zeros((2, 2, 2)), ["(2, 2, 2)"]),
        (np.zeros((2, 2), complex), ["complex128"]),
        (np.zeros((1, 100_000)), ["100,000"]),
        (np.zeros((3, 0)), []),
        (np.zeros((0, 3)), []),
        (np.array(5), ["()"]),
    ],
)
def test_arrays_that_are_no_rows(tmp_path: Path, values: Any, facts: list[str]) -> None:
    np.save(tmp_path / "t.npy", values)
    np.savez(tmp_path / "t.npz", x=values)
    for name in ("t.npy", "t.npz"):
        with refuses(NoTrainingData, name, *facts):
            rows_of(tmp_path / name)


@pytest.mark.parametrize(
    "names", [np.array(["a"]), np.array(["a", "a"]), np.array(["a", ""]), np.array([{}, None], object)]
)
def test_names_that_do_not_fit(tmp_path: Path, names: Any) -> None:
    np.savez(tmp_path / "t.npz", x=np.zeros((2, 2)), columns=names)
    with refuses(NoTrainingData, "t.npz"):
        rows_of(tmp_path / "t.npz")
    with refuses(NoTrainingData, "t.npz"):
        open_row_stream(tmp_path / "t.npz", SkipLog())


def test_a_huge_array_that_a_header_announces(tmp_path: Path) -> None:
    header = b"{'descr': '<f8', 'fortran_order': True, 'shape': (1000000000000, 1000), }"
    content = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + header.ljust(117) + b"\n" + bytes(64)
    (tmp_path / "t.npy").write_bytes(content)
    with refuses(NoTrainingData, "t.npy"):
        rows_of(tmp_path / "t.npy")
    with refuses(NoTrainingData, "t.npy"), open_row_stream(tmp_path / "t.npy", SkipLog()) as stream:
        list(stream.chunks(10))


@pytest.mark.parametrize("other", ["columns", "Feature_Names", "outcome"])
def test_the_only_array_of_two_axes(tmp_path: Path, other: str) -> None:
    np.savez(tmp_path / "t.npz", **{"measured": np.eye(2), other: np.array(["a", "b"]), "weight": np.arange(2)})
    rows = rows_of(tmp_path / "t.npz")
    columns = ["x0", "x1"] if other == "outcome" else ["a", "b"]
    assert list(rows.columns) == columns
    assert label_names(rows) == [*columns, *(["outcome"] if other == "outcome" else []), "weight"]
    with open_row_stream(tmp_path / "t.npz", SkipLog()) as stream:
        assert [len(chunk) for chunk in stream.chunks(5)] == [2] and list(stream.columns) == columns

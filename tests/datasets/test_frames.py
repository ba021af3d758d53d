"""Tables in memory as rows."""

import datetime
import pickle
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from refusals import refuses

from vaekit.datasets.column_rows import ColumnRows
from vaekit.datasets.dataset import Dataset
from vaekit.datasets.frames import rows_of_frame
from vaekit.datasets.labels import read_labels
from vaekit.datasets.row_chunks import Chunked
from vaekit.errors import NoTrainingData

UTC = datetime.UTC
CELLS = {
    "count": [1, None, 3],
    "large": [2**60 + 1, None, 5],
    "text": ["red", None, "blau é"],
    "flag": [True, None, False],
    "moment": [datetime.datetime(2024, 1, 2, 3, 4, 5, 250_000), None, datetime.datetime(2024, 5, 17)],
    "day": [datetime.date(2024, 1, 2), None, datetime.date(2024, 5, 17)],
    "hour": [datetime.time(1, 2), None, datetime.time(3, 4, 5)],
    "real": [0.1, float("nan"), 1e300],
    "price": [Decimal("0.1"), None, Decimal("12345678901234567890.5")],
    "duration": [datetime.timedelta(seconds=1.5), None, datetime.timedelta(days=1)],
}
FIRST = {
    "count": "1",
    "large": "1152921504606846977",
    "text": "red",
    "flag": "True",
    "day": "2024-01-02",
    "hour": "01:02:00",
    "real": "0.1",
    "price": "0.1",
    "duration": "1.5",
}
NUMBERS = {"count", "real", "duration"}


def frames() -> Mapping[str, Any]:
    """The same table in several forms."""
    rows = [dict(zip(CELLS, values, strict=True)) for values in zip(*CELLS.values(), strict=True)]
    forms: dict[str, Any] = {"dict": CELLS, "list": rows}
    try:
        import pyarrow as pa

        forms |= {"arrow": pa.table(CELLS), "batch": pa.record_batch(CELLS)}
    except ImportError:
        pass
    try:
        import polars as pl

        forms["polars"] = pl.DataFrame(CELLS)
    except ImportError:
        pass
    try:
        import pandas as pd

        plain = {name: pd.Series(values, dtype=object) for name, values in CELLS.items()}
        typed = {"count": plain["count"].astype("Int64"), "large": plain["large"].astype("Int64")}
        typed |= {"text": plain["text"].astype("string"), "flag": plain["flag"].astype("boolean")}
        typed |= {"moment": pd.to_datetime(plain["moment"]), "duration": pd.to_timedelta(plain["duration"])}
        forms |= {"pandas": pd.DataFrame(plain), "typed pandas": pd.DataFrame(plain | typed)}
    except ImportError:
        pass
    return forms


@pytest.mark.parametrize("form", ["dict", "list", "arrow", "batch", "polars", "pandas", "typed pandas"])
def test_the_same_rows_in_every_form(form: str) -> None:
    if form not in frames():
        pytest.skip(f"the package for {form} is not installed")
    rows = rows_of_frame(frames()[form], "t")
    assert isinstance(rows, Dataset) and isinstance(rows, Chunked) and len(rows) == 3
    values = rows.read(0).values
    assert {name: values[name] for name in FIRST} == FIRST and values["moment"].rstrip("0") == "2024-01-02T03:04:05.25"
    assert set(rows.read(1).values.values()) == {""} and rows.key(2) == "t[2]"
    assert rows.read(2).values["price"] == "12345678901234567890.5" and rows.read(2).values["text"] == "blau é"
    chunk = rows.chunk(0, 3)
    assert {name for name, column in chunk.columns.items() if column.dtype == np.float64} == NUMBERS
    assert chunk.columns["real"].tolist()[::2] == [0.1, 1e300] and np.isnan(chunk.columns["count"][1])
    assert chunk.columns["flag"].tolist() == ["True", None, "False"] and list(chunk.names) == ["t[0]", "t[1]", "t[2]"]
    copy = pickle.loads(pickle.dumps(rows))
    assert copy.read(0) == rows.read(0) and copy.digest == rows.digest


def test_categories_are_texts() -> None:
    pd = pytest.importorskip("pandas")
    rows = rows_of_frame(
        pd.DataFrame({"level": pd.Categorical([1, 2, None]), "kind": pd.Categorical(["a", None, "b"])})
    )
    chunk = rows.chunk(0, 3)
    assert chunk.columns["level"].tolist() == ["1", "2", None] and chunk.columns["kind"].tolist() == ["a", None, "b"]


def test_categories_and_unsigned_integers_of_polars() -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(
        {
            "kind": pl.Series(["a", "b", None], dtype=pl.Enum(["a", "b"])),
            "number": pl.Series([2**64 - 1, None, 1], dtype=pl.UInt64),
            "nothing": [None] * 3,
        }
    )
    chunk = rows_of_frame(frame).chunk(0, 3)
    assert chunk.columns["number"].tolist() == ["18446744073709551615", None, "1"]
    assert chunk.columns["kind"].tolist() == ["a", "b", None] and np.isnan(chunk.columns["nothing"]).all()


@pytest.mark.parametrize(
    "values",
    [
        np.array([[1, 2.5], [np.nan, 4]]),
        np.array([[1, 2.5], [None, 4]], object),
        np.ma.array([[1, 2.5], [3, 4]], mask=[[0, 0], [1, 0]]),
        [[1, 2.5], (None, 4)],
        np.array([[1, 2.5], [np.nan, 4]], np.float32),
    ],
    ids=["float", "object", "masked", "list", "float32"],
)
def test_arrays(values: Any) -> None:
    rows = rows_of_frame(values)
    assert rows.columns == ("x0", "x1")
    assert [rows.read(row).values for row in range(2)] == [{"x0": "1", "x1": "2.5"}, {"x0": "", "x1": "4"}]
    assert rows.chunk(1, 2).columns["x1"].tolist() == [4.0]


def test_other_arrays() -> None:
    fields = np.array([(1, "a"), (2, "b")], [("n", "i4"), ("t", "U3")])
    assert rows_of_frame(fields).read(1).values == {"n": "2", "t": "b"}
    flags = rows_of_frame(np.array([[True], [False]]))
    assert flags.chunk(0, 2).columns["x0"].tolist() == ["True", "False"]
    days = rows_of_frame(np.array([["2024-05-17", "NaT"]], "M8[D]"))
    assert days.read(0).values == {"x0": "2024-05-17", "x1": ""}


def test_later_changes_of_a_frame_change_no_rows() -> None:
    values = np.zeros((2, 2))
    rows = rows_of_frame(values)
    values[:] = 1
    assert rows.read(0).values == {"x0": "0", "x1": "0"}


@pytest.mark.parametrize(
    ("frame", "facts"),
    [
        (3, ["int"]),
        ("a,b", []),
        ([], []),
        ({}, []),
        (np.zeros(3), ["3"]),
        (np.zeros((2, 3, 4)), ["4"]),
        (np.zeros((2, 2), complex), ["complex128"]),
        ([[1, 2], [3]], ["1", "2"]),
        ([[1, 2], "ab"], ["str", "1"]),
        ({"a": [1, 2], "b": [1]}, ["a", "b"]),
        ({"a": [1, [2]]}, ["a", "list", "1"]),
        ({"a": [1, {}]}, ["a", "dict", "1"]),
        ({"a": [1, object()]}, ["a", "object"]),
        ({"a": [1, 10**5000]}, ["a", "int", "1"]),
        ({"a": [1, b"\xff"]}, ["a", "bytes", "1"]),
        (np.zeros((2, 2), "m8[Y]"), ["timedelta64[Y]"]),
        ((place for place in range(3)), ["generator"]),
        ({"a": [1], "": [2]}, []),
        ({1: [1], "1": [2]}, ["'1'"]),
        ({"a": "text"}, ["a", "str"]),
        ({"a": np.zeros((2, 2))}, ["a"]),
        ({f"c{place}": [0] for place in range(20_000)}, ["20,000"]),
        (np.zeros((1, 100_000)), ["100,000"]),
    ],
)
def test_what_is_no_table_is_refused(frame: Any, facts: list[str]) -> None:
    with refuses(NoTrainingData, *facts):
        rows_of_frame(frame)


def test_columns_are_labels() -> None:
    rows = rows_of_frame({"a": [1.5, 2], "Label": ["x", None]})
    assert isinstance(rows, ColumnRows) and read_labels(rows) == ["x", None] and read_labels(rows, "a") == ["1.5", "2"]


def test_series_and_tensors_with_gradients_are_refused() -> None:
    pd = pytest.importorskip("pandas")
    torch = pytest.importorskip("torch")
    for frame in (pd.Series([1, 2]), torch.zeros(2, 2, requires_grad=True)):
        with refuses(NoTrainingData, type(frame).__name__):
            rows_of_frame(frame)
    assert rows_of_frame(torch.ones(2, 3)).read(1).values == {"x0": "1", "x1": "1", "x2": "1"}


def test_lazy_frames_and_series_of_polars() -> None:
    pl = pytest.importorskip("polars")
    with refuses(NoTrainingData, "Series"):
        rows_of_frame(pl.Series([1, 2]))
    with pytest.raises(NoTrainingData):
        rows_of_frame(pl.DataFrame({"a": [[1], [2]]}))

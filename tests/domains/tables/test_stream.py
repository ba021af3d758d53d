"""Rows of a file as tensors, batch by batch."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from refusals import refuses
from small_tables import columns, rows, write_table

from vaekit.datasets.dataset import Row
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.domain import ItemBatch
from vaekit.domains.tables.domain import TABLES
from vaekit.domains.tables.schema import TableSchema, fit
from vaekit.errors import BadItem, NotFound, NoTrainingData

TABLE = columns()


@pytest.fixture
def schema() -> TableSchema:
    return fit(rows(TABLE))


def read(path: Path, schema: TableSchema, size: int, label: str | None = None) -> list[ItemBatch]:
    return list(TABLES.batches(path, schema, size, SkipLog(), label).batches)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_rows_are_those_of_the_data_set(tmp_path: Path, schema: TableSchema, size: int) -> None:
    path = write_table(tmp_path / "t.csv", TABLE)
    batches = read(path, schema, size, "ill")
    assert [name for batch in batches for name in batch.names] == [row.name for row in rows(TABLE)]
    torch.testing.assert_close(torch.cat([batch.x for batch in batches]), schema.to_tensor(rows(TABLE)))
    assert [label for batch in batches for label in batch.labels or ()] == TABLE["ill"]


def test_rows_that_cannot_be_taken_stay_in_place(tmp_path: Path, schema: TableSchema) -> None:
    path = write_table(tmp_path / "t.csv", TABLE)
    lines = path.read_text().splitlines()
    lines[3] = lines[3].replace(lines[3].split(",")[1], "large", 1)
    lines[5] = "too,few"
    path.write_text("\n".join(lines))
    batches = read(path, schema, 1000)
    names = [name for batch in batches for name in batch.names]
    assert names == [row.name for row in rows(TABLE)]
    problems = {batch.names[place]: why for batch in batches for place, why in batch.problems.items()}
    assert sorted(problems) == ["t.csv:4", "t.csv:6"]
    assert "size" in problems["t.csv:4"] and "large" in problems["t.csv:4"]


def test_columns_in_another_order_and_more_of_them_make_no_difference(tmp_path: Path, schema: TableSchema) -> None:
    mixed = {"more": ["x"] * 60, **{name: TABLE[name] for name in sorted(TABLE)}}
    (batch,) = read(write_table(tmp_path / "t.csv", mixed), schema, 1000)
    torch.testing.assert_close(batch.x, schema.to_tensor(rows(TABLE)))


def test_a_table_without_a_column_is_refused(tmp_path: Path, schema: TableSchema) -> None:
    path = write_table(tmp_path / "t.csv", {name: cells for name, cells in TABLE.items() if name != "income"})
    with pytest.raises(BadItem, match="income"):
        read(path, schema, 10)


def test_other_files_are_refused(tmp_path: Path, schema: TableSchema) -> None:
    (tmp_path / "empty.csv").touch()
    with pytest.raises(NoTrainingData):
        read(tmp_path / "empty.csv", schema, 10)
    with pytest.raises(NotFound):
        read(tmp_path / "none.csv", schema, 10)
    with pytest.raises(NotFound):
        read(write_table(tmp_path / "t.csv", TABLE), schema, 10, "sise")


def test_arrays_have_columns_by_position(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(50, 3))
    np.savez(tmp_path / "t.npz", x=values)
    splits = TABLES.open(tmp_path / "t.npz", SkipLog())
    schema = TABLES.schema({}, splits)
    assert isinstance(schema, TableSchema)
    (batch,) = read(tmp_path / "t.npz", schema, 100)
    assert batch.x.shape == (50, 3) and not batch.problems


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".arrow", ".npz"])
def test_columns_are_kept_beside_rows(ending: str, tmp_path: Path) -> None:
    numbers = np.arange(12.0).reshape(6, 2)
    schema = fit([Row(f"{i}", {"x0": str(a), "x1": str(b)}) for i, (a, b) in enumerate(numbers.tolist())])
    ids = [f"{i:03}" for i in range(6)]
    path = tmp_path / f"t{ending}"
    table = {"id": ids, **{f"x{i}": [str(value) for value in numbers[:, i]] for i in range(2)}}
    if ending == ".csv":
        write_table(path, table)
    elif ending == ".npz":
        np.savez(path, X=numbers, id=np.array(ids))
    else:
        arrow = pytest.importorskip("pyarrow")
        columns = arrow.table({"id": ids, "x0": numbers[:, 0], "x1": numbers[:, 1]})
        write = importlib.import_module("pyarrow.parquet" if ending == ".parquet" else "pyarrow.feather")
        (write.write_table if ending == ".parquet" else write.write_feather)(columns, path)
    batches = list(TABLES.batches(path, schema, 4, SkipLog(), keep=("id", "x1")).batches)
    assert [text for batch in batches for text in batch.kept["id"]] == ids
    assert [float(text) for batch in batches for text in batch.kept["x1"]] == numbers[:, 1].tolist()
    with refuses(NotFound, "idd", "id"):
        TABLES.batches(path, schema, 4, SkipLog(), keep=("idd",))

"""Columns of tables: what they are taken for, and the way to tensors and back."""

import json
import math

import pytest
import torch
from refusals import refuses

from vaekit.datasets.dataset import Line, Row
from vaekit.domains.find import domain_named
from vaekit.domains.tables.schema import TableSchema, fit, schema_from
from vaekit.errors import BadCheckpoint, BadItem, NoTrainingData

COLUMNS = {
    "ill": ["yes", "no", "no", "yes"],
    "size": ["1", "2.5", " 4 ", "-1e3"],
    "flag": ["10", "9", "10", "9"],
    "same": ["5", "5", "5", "5"],
}


def rows(**columns: list[str]) -> list[Row]:
    count = len(next(iter(columns.values())))
    return [Row(f"t.csv:{i + 2}", {name: values[i] for name, values in columns.items()}) for i in range(count)]


@pytest.fixture
def schema() -> TableSchema:
    return fit(rows(**COLUMNS))


def test_numbers_are_standardized_and_two_values_become_0_and_1(schema: TableSchema) -> None:
    x = schema.to_tensor(rows(**COLUMNS))
    assert [column.name for column in schema.ordered] == ["size", "same", "ill", "flag"]
    torch.testing.assert_close(x[:, 0].mean(), torch.tensor(0.0), atol=1e-6, rtol=0)
    torch.testing.assert_close(x[:, 0].std(correction=0), torch.tensor(1.0))
    assert x[:, 1].tolist() == [0, 0, 0, 0]
    assert x[:, 2].tolist() == [1, 0, 0, 1] and x[:, 3].tolist() == [1, 0, 1, 0], "sorted: no, yes; 9, 10"
    assert schema.vae_settings() == {
        "net": {"data_shape": [4]},
        "likelihood": {"columns": ["normal:2", "bernoulli:2"]},
    }
    assert schema.example().shape == (1, 4)


def test_items_come_back_in_the_units_and_order_of_the_file(schema: TableSchema) -> None:
    items = schema.to_items(schema.to_tensor(rows(**COLUMNS)))
    assert [list(item) for item in items] == [list(COLUMNS)] * 4
    assert [item["ill"] for item in items] == COLUMNS["ill"] and [item["flag"] for item in items] == COLUMNS["flag"]
    assert [float(item["size"]) for item in items] == pytest.approx([1, 2.5, 4, -1000], rel=1e-4)


def test_json_keeps_a_schema(schema: TableSchema) -> None:
    assert schema_from(json.loads(json.dumps(schema.as_plain()))) == schema


@pytest.mark.parametrize(
    "values", [["1", "2", "x"], ["1", "2", ""], ["a", "b", "c"], ["1", "2", "nan"], ["a", "", "a"]]
)
def test_other_columns_are_refused(values: list[str]) -> None:
    with refuses(NoTrainingData, "mixed"):
        fit(rows(fine=["1", "2", "3"], mixed=values))


def test_rows_that_do_not_fit_are_refused(schema: TableSchema) -> None:
    fine = {"ill": "no", "size": "1", "flag": "9", "same": "5"}
    assert schema.to_tensor([Row("t.csv:2", {**fine, "more": "x"})]).shape == (1, 4), "other columns are left out"
    for name, value in (("ill", "maybe"), ("size", "large"), ("size", "inf"), ("size", "")):
        with refuses(BadItem, "t.csv:9", name):
            schema.to_tensor([Row("t.csv:9", {**fine, name: value})])
    with refuses(BadItem, "size"):
        schema.to_tensor([Row("t.csv:9", {name: value for name, value in fine.items() if name != "size"})])
    with pytest.raises(BadItem):
        schema.to_tensor([Line("t.txt:1", "a")])


@pytest.mark.parametrize(
    "plain",
    [
        {},
        {"columns": []},
        {"columns": [3]},
        {"columns": [{"name": "a", "kind": "words"}]},
        {"columns": [{"name": "a", "kind": "bernoulli", "values": ["x"]}]},
        {"columns": [{"name": "a", "kind": "normal", "mean": 0.0, "std": 0.0}]},
        {"columns": [{"name": "a", "kind": "normal", "mean": math.nan, "std": 1.0}]},
    ],
)
def test_a_damaged_schema_is_refused(plain: dict[str, object]) -> None:
    with pytest.raises(BadCheckpoint):
        domain_named("tables").schema_from(plain, None)

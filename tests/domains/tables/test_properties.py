"""Columns as properties of rows."""

import pytest
import torch
from planted_rows import SCHEMA
from refusals import refuses

from vaekit.datasets.dataset import Row
from vaekit.domains.tables.properties import column_property
from vaekit.domains.tables.schema import TableSchema, fit
from vaekit.errors import NotFound

CELLS = {
    "length": ["0.51", "1.77", "-2.25", "3.5"],
    "wealth": ["1", "1000", "30", "100000"],
    "children": ["0", "3", "1", "12"],
    "grade": ["low", "middle", "high", "low"],
    "born": ["1999-12-31", "2024-02-29", "1970-01-01", "1950-06-01"],
    "town": ["Bonn", "Ulm", "Jena", "Bonn"],
    "ill": ["no", "yes", "no", "yes"],
}
KINDS = {
    "length": "real",
    "wealth": "positive",
    "children": "count",
    "grade": "ordinal:low,middle,high",
    "born": "date",
    "town": "categorical",
    "ill": "binary",
}


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    every = enumerate(zip(*CELLS.values(), strict=True))
    return [Row(f"t.csv:{i + 2}", dict(zip(CELLS, cells, strict=True))) for i, cells in every]


@pytest.fixture(scope="module")
def schema(rows: list[Row]) -> TableSchema:
    return fit(rows, KINDS)


@pytest.mark.parametrize("name", ["length", "wealth", "children"])
def test_numbers_have_the_unit_of_the_file(name: str, schema: TableSchema, rows: list[Row]) -> None:
    x = schema.to_tensor(rows).requires_grad_()
    values = schema.property_named(name)(x)
    assert values.tolist() == pytest.approx([float(text) for text in CELLS[name]], rel=1e-4, abs=1e-4)
    values.sum().backward()
    assert x.grad is not None and x.grad.isfinite().all() and x.grad.any()


def test_numbers_outside_the_data_count_as_the_last_ones_and_have_a_gradient(schema: TableSchema) -> None:
    x = torch.full((1, schema.width), 50.0, requires_grad=True)
    value = schema.property_named("length")(x)
    value.sum().backward()
    assert value.item() == 3.5 and x.grad is not None and x.grad.any()


def test_dates_and_levels_are_numbers(schema: TableSchema, rows: list[Row]) -> None:
    x = schema.to_tensor(rows)
    assert schema.property_named("born")(x)[2].item() == pytest.approx(0, abs=3600)
    levels = schema.property_named("grade")(x).tolist()
    assert levels == pytest.approx([0, 1, 2, 0], abs=1e-5)


@pytest.mark.parametrize(("name", "texts"), [("town", CELLS["town"]), ("ill", CELLS["ill"])])
def test_values_have_probabilities(name: str, texts: list[str], schema: TableSchema, rows: list[Row]) -> None:
    x = schema.to_tensor(rows)
    for value in set(texts):
        expected = [float(text == value) for text in texts]
        assert schema.property_named(f"{name}={value}")(x).tolist() == expected
        assert schema.property_named(f"column:{name}={value}")(x).tolist() == expected


def test_probabilities_that_are_not_certain() -> None:
    x = torch.tensor([[1.5, -1.0, 0.25]])
    expected = {"height": 13.0, "column:height": 13.0, "width": -0.5, "ripe=yes": 0.25, "column:ripe=no": 0.75}
    for name, value in expected.items():
        assert column_property(SCHEMA.ordered, name)(x).tolist() == [value]


@pytest.mark.parametrize("name", ["ripe", "ripe=maybe", "hieght", "column:", "", "height=1"])
def test_unknown_properties_are_refused(name: str) -> None:
    with refuses(NotFound, "height", "ripe=yes"):
        SCHEMA.property_named(name)

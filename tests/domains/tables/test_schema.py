"""Columns of tables: how their kinds are inferred, and the way to tensors and back."""

import json
import math
import warnings
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from refusals import refuses

from vaekit.datasets.dataset import Line, Row
from vaekit.datasets.row_chunks import RowChunk
from vaekit.domains.find import domain_named
from vaekit.domains.tables.schema import TableSchema, fit, fit_chunk, schema_from
from vaekit.errors import BadCheckpoint, BadItem, BadRecipe, NoTrainingData

RANDOM = np.random.default_rng(0)
COUNT = 60
COLUMNS: dict[str, Sequence[str]] = {
    "ill": ["yes", "no", "no"] * 20,
    "size": [f"{value:.2f}" for value in RANDOM.normal(3, 2, COUNT)],
    "income": [f"{value:.2f}" for value in RANDOM.lognormal(7, 2, COUNT)],
    "flag": ["10", "9"] * 30,
    "same": ["5"] * COUNT,
    "color": ["red", "green", "blue", "red"] * 15,
    "grade": ["1", "2", "3", "4", "5", "2"] * 10,
    "visits": [str(value) for value in RANDOM.poisson(40, COUNT)],
    "links": [str(int(value)) for value in RANDOM.lognormal(3, 2, COUNT)],
    "day": [f"2024-0{1 + number % 3}-{1 + number % 28:02}" for number in range(COUNT)],
}
KINDS = {
    "ill": "binary",
    "size": "real",
    "income": "positive",
    "flag": "binary",
    "same": "constant",
    "color": "categorical",
    "grade": "ordinal",
    "visits": "count",
    "links": "count",
    "day": "date",
}


def rows(columns: dict[str, Sequence[str]]) -> list[Row]:
    count = len(next(iter(columns.values())))
    return [Row(f"t.csv:{i + 2}", {name: values[i] for name, values in columns.items()}) for i in range(count)]


def fitted(columns: dict[str, Sequence[str]], overrides: dict[str, str] | None = None) -> TableSchema:
    return fit(rows(columns), overrides or {}, "student")


@pytest.fixture
def schema() -> TableSchema:
    return fitted(COLUMNS)


def test_kinds_are_inferred(schema: TableSchema) -> None:
    assert {column.name: column.kind for column in schema.columns} == KINDS
    likelihoods = {column.name: column.likelihood for column in schema.columns}
    assert likelihoods["visits"] == "steps" and likelihoods["links"] == "counts"


def test_cells_come_back_in_the_units_and_order_of_the_file(schema: TableSchema) -> None:
    items = schema.to_items(schema.to_tensor(rows(COLUMNS)))
    assert [list(item) for item in items] == [list(COLUMNS)] * COUNT
    for name, cells in COLUMNS.items():
        back = [item[name] for item in items]
        if name == "income":
            assert [float(cell) for cell in back] == pytest.approx([float(cell) for cell in cells], rel=1e-4)
        else:
            assert back == list(cells), name


def test_values_are_on_a_scale_of_one(schema: TableSchema) -> None:
    x, slots = schema.to_tensor(rows(COLUMNS)), schema.slots()
    for name in ("size", "income", "visits", "links", "day", "grade"):
        assert x[:, slots[name]].median().abs() < 0.5
        assert 0.5 < x[:, slots[name]].std() < 2
    assert x[:, slots["ill"]][:3, 0].tolist() == [1, 0, 0], "in alphabetical order: no, yes"
    assert x[:, slots["flag"]][:2, 0].tolist() == [1, 0], "in numeric order: 9, 10"
    assert x[:, slots["color"]][0].tolist() == [0, 0, 1], "blue, green, red"
    assert x[:, slots["same"]].unique().tolist() == [1]
    assert schema.example().shape == (1, schema.width) == (1, x.shape[1])


def test_json_keeps_a_schema(schema: TableSchema) -> None:
    assert schema_from(json.loads(json.dumps(schema.as_plain(), allow_nan=False))) == schema


@pytest.mark.parametrize("text", ["", "NA", " nan ", "None", "?"])
def test_a_missing_cell_is_missing(schema: TableSchema, text: str) -> None:
    row = dict(rows(COLUMNS)[0].values)
    for name, slot in schema.slots().items():
        x = schema.to_tensor([Row("t.csv:9", {**row, name: text})])
        assert x[0, slot].isnan().all() and x.isnan().sum() == slot.stop - slot.start
        assert schema.to_items(x)[0][name] == ""


def test_columns_with_missing_cells_have_the_kind_of_the_others() -> None:
    gaps = {name: ["", *cells[1:-1], "NA"] for name, cells in COLUMNS.items()}
    assert {column.name: column.kind for column in fitted(gaps).columns} == KINDS


def test_unseen_values_are_taken(schema: TableSchema) -> None:
    row = dict(rows(COLUMNS)[0].values)
    slots = schema.slots()
    for name in ("color", "same"):
        assert not schema.to_tensor([Row("t.csv:9", {**row, name: "other"})])[0, slots[name]].any()
    for name in ("ill", "flag"):
        assert schema.to_tensor([Row("t.csv:9", {**row, name: "other"})])[0, slots[name]].tolist() == [-1]


def test_numbers_outside_of_the_data_are_taken(schema: TableSchema) -> None:
    row = dict(rows(COLUMNS)[0].values)
    for name in ("size", "income", "visits", "links", "grade"):
        for text in ("-3", "0", "0.5", "1e6"):
            assert schema.to_tensor([Row("t.csv:9", {**row, name: text})]).isfinite().all()


def test_written_numbers_stay_in_the_range_of_the_data(schema: TableSchema) -> None:
    for x in (torch.full((1, schema.width), 50.0), torch.full((1, schema.width), -50.0)):
        item = schema.to_items(x)[0]
        for column in schema.columns:
            if column.kind in ("real", "positive", "count", "ordinal"):
                assert column.low - 0.01 <= float(item[column.name]) <= column.high + 0.01
            if column.kind in ("count", "ordinal"):
                assert item[column.name].lstrip("-").isdecimal()


def test_rows_that_do_not_fit_are_refused(schema: TableSchema) -> None:
    fine = dict(rows(COLUMNS)[0].values)
    assert schema.to_tensor([Row("t.csv:2", {**fine, "more": "x"})]).shape == (1, schema.width), "others are left out"
    for name, value in (("size", "large"), ("size", "inf"), ("day", "soon"), ("links", "-inf"), ("visits", "x")):
        with refuses(BadItem, "t.csv:9", name, value):
            schema.to_tensor([Row("t.csv:9", {**fine, name: value})])
    with refuses(BadItem, "size"):
        schema.to_tensor([Row("t.csv:9", {name: value for name, value in fine.items() if name != "size"})])
    with pytest.raises(BadItem):
        schema.to_tensor([Line("t.txt:1", "a")])


def test_rows_that_do_not_fit_stay_in_place(schema: TableSchema) -> None:
    table = {name: np.array(cells[:3], object) for name, cells in COLUMNS.items()}
    table["size"] = np.array(["1.0", "x", "2.0"], object)
    x, problems = schema.values(RowChunk(["a:1", "a:2", "a:3"], table, {2: "a:3 has 2 values."}))
    assert x[1:].isnan().all() and x[0].isfinite().all()
    assert list(problems) == [2, 1] and "size" in problems[1] and problems[2] == "a:3 has 2 values."


@pytest.mark.parametrize("cells", [["1", "2", "x"] + ["3.5"] * 40, ["1.5", "2", "inf"] + ["3"] * 40])
def test_numbers_with_few_exceptions_are_refused(cells: list[str]) -> None:
    with refuses(NoTrainingData, "mixed", "t.csv:4"):
        fitted({"fine": ["1", "2"] + ["3"] * 41, "mixed": cells})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([f"{number}.5" for number in range(30)], ["oops"] * 30),
        (["oops", "dear"] * 15, [f"{number}" for number in range(30)]),
        ([f"2024-01-{number:02}" for number in range(1, 31)], ["soon", "late", "now"] * 10),
        ([f"2024-01-{number:02}" for number in range(1, 31)], [f"17{number}0000.5" for number in range(30)]),
    ],
)
def test_a_column_that_changes_its_type_is_refused_at_the_change(before: list[str], after: list[str]) -> None:
    with pytest.raises(NoTrainingData) as caught:
        fitted({"fine": ["1", "2", "3.5"] * 20, "mixed": [*before, *after]})
    places = {"t.csv:2", "t.csv:32"}, {before[0], after[0]}
    assert "mixed" in str(caught.value)
    assert all(any(repr(each).strip("'") in caught.value.found for each in kind) for kind in places)
    assert fitted({"mixed": [*before, *after]}, {"mixed": "categorical"}).columns[0].kind == "categorical"


@pytest.mark.parametrize("bad", ["2024-02-30", "0000-01-01", "yesterday"])
def test_dates_with_few_exceptions_are_refused(bad: str) -> None:
    days = [f"2024-0{1 + number % 6}-{1 + number % 28:02}" for number in range(60)]
    with refuses(NoTrainingData, "day", bad, "t.csv:7"):
        fitted({"day": [*days[:5], bad, *days[6:]]})


@pytest.mark.parametrize("form", ["{}%", "{} %", "1,{:03}", "${}", "(1.{:03},25)", "{}/12/2024", "12:{}", "-{} €"])
def test_numbers_and_dates_in_other_forms_are_refused(form: str) -> None:
    cells = [form.format(number) for number in range(60)]
    with refuses(NoTrainingData, "amount", "t.csv:2"):
        fitted({"amount": cells})
    assert fitted({"amount": cells[:4] * 15}).columns[0].kind == "categorical", "few levels are categories"


@pytest.mark.parametrize("cell", ["1e200", "9" * 300])
def test_numbers_that_are_too_large_are_refused_by_cell(cell: str) -> None:
    with refuses(NoTrainingData, "size", "t.csv:4"):
        fitted({"size": ["1.5", "2.5", cell, *COLUMNS["size"]]})


def test_codes_with_a_few_numbers_are_categories() -> None:
    assert fitted({"cylinders": ["4", "6", "8", "other"] * 15}).columns[0].kind == "categorical"
    assert fitted({"period": ["2023", "2024", "2024-01-01", "never"] * 15}).columns[0].kind == "categorical"


@pytest.mark.parametrize("text", ["inf", "-Infinity", "1e999"])
@pytest.mark.parametrize("share", [1, 2, 60])
def test_infinities_are_no_categories(text: str, share: int) -> None:
    with refuses(NoTrainingData, "size", "t.csv:2"):
        fitted({"size": [text if number % (60 // share) == 0 else "1.5" for number in range(60)]})


def test_texts_of_equal_numbers_are_categories() -> None:
    assert fitted({"flag": ["0", "0.0", "1"] * 20}).columns[0].kind == "categorical"
    assert fitted({"same": ["5", "5.0"] * 30}).columns[0].kind == "categorical"
    with refuses(NoTrainingData, "id", "ignored"):
        fitted({"id": [str(2**63 - number) for number in range(200)]})


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_rows_are_refused(count: int) -> None:
    with refuses(NoTrainingData, count, 2):
        fitted({name: cells[:count] for name, cells in COLUMNS.items()})


@pytest.mark.parametrize("number", [1e300, -1e200])
def test_a_number_that_is_too_large_stays_in_place_without_a_warning(schema: TableSchema, number: float) -> None:
    table = {name: np.array(cells[:2], object) for name, cells in COLUMNS.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x, problems = schema.values(RowChunk(["a:1", "a:2"], {**table, "size": np.array([1.0, number])}))
    assert x[0].isfinite().all() and x[1].isnan().all() and list(problems) == [1]


def test_free_text_is_refused_and_can_be_ignored() -> None:
    table: dict[str, Sequence[str]] = {"id": [f"user {i} x" for i in range(300)], "size": ["1", "2.5", "4"] * 100}
    with refuses(NoTrainingData, "id", "ignored"):
        fitted(table)
    assert [column.name for column in fitted(table, {"id": "ignored"}).columns] == ["size"]


def test_kinds_can_be_declared() -> None:
    schema = fitted(
        {"size": ["S", "L", "M", "S"], "level": ["1", "2.5", "4", "8"], "zip": ["10115", "80331", "20095", "10117"]},
        {"size": "ordinal:S,M,L", "level": "positive", "zip": "categorical"},
    )
    assert [column.kind for column in schema.columns] == ["ordinal", "positive", "categorical"]
    x = schema.to_tensor(rows({"size": ["M", "L"], "level": ["3", "5"], "zip": ["10115", "1"]}))
    assert [item["size"] for item in schema.to_items(x)] == ["M", "L"]
    with refuses(BadItem, "XL", "S"):
        schema.to_tensor(rows({"size": ["XL"], "level": ["3"], "zip": ["10115"]}))


@pytest.mark.parametrize(
    ("overrides", "error"),
    [
        ({"sise": "real"}, BadRecipe),
        ({"size": "complex"}, BadRecipe),
        ({"size": "ordinal:a,a"}, BadRecipe),
        ({"color": "real"}, NoTrainingData),
        ({"color": "binary"}, NoTrainingData),
        ({"color": "constant"}, NoTrainingData),
        ({"size": "date"}, NoTrainingData),
        ({"size": "positive"}, NoTrainingData),
    ],
)
def test_wrong_declarations_are_refused(overrides: dict[str, str], error: type[Exception]) -> None:
    with refuses(error, next(iter(overrides))) if error is NoTrainingData else pytest.raises(error):
        fitted({"size": ["-1.5", "2.5", "4"] * 9, "color": ["a", "b", "c"] * 9}, overrides)


def test_arrays_of_numbers_are_columns_of_numbers() -> None:
    table = {"a": RANDOM.normal(size=50), "b": np.arange(50.0), "c": np.full(50, np.nan)}
    schema = fit_chunk(RowChunk([f"x[{i}]" for i in range(50)], table), {}, "normal")
    assert [column.kind for column in schema.columns] == ["real", "count", "constant"]
    assert schema.columns[0].likelihood == "normal"
    x, problems = schema.values(RowChunk(["x[0]"], {"a": np.array([np.inf]), "b": np.zeros(1), "c": np.zeros(1)}))
    assert x.isnan().all() and "a" in problems[0]


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
        {"columns": [{"name": "a", "kind": "real", "likelihood": "student", "scale": "1"}]},
        {"columns": [{"name": "a", "kind": "ordinal", "likelihood": "steps"}]},
        {"columns": [{"name": "a", "kind": "categorical", "likelihood": "student", "values": ["x"]}]},
        {"columns": [{"name": "a", "kind": "real", "likelihood": "student"}], "unseen": 2},
        {"columns": [{"name": "a", "kind": "real", "likelihood": "student", "scale": 10**400}]},
        {"columns": [{"name": "a", "kind": "real", "likelihood": "student"}], "unseen": 10**400},
        {"columns": [{"name": "a", "kind": "real", "likelihood": "student", "decimals": -400}]},
        {"columns": [{"name": "a", "kind": "real", "likelihood": "student", "decimals": 10**6}]},
    ],
)
def test_a_damaged_schema_is_refused(plain: dict[str, object]) -> None:
    with pytest.raises(BadCheckpoint):
        domain_named("tables").schema_from(plain, None)


@pytest.mark.parametrize("numbers", [{"scale": 1e308}, {"center": 1e307, "scale": 1e307, "decimals": 17}])
def test_large_numbers_are_written_without_warnings(numbers: dict[str, float]) -> None:
    plain = {"name": "a", "kind": "real", "likelihood": "student", "low": -3.0, "high": 2.0}
    schema = schema_from({"columns": [{**plain, **numbers}]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        items = schema.to_items(torch.tensor([[5.0], [-5.0]]))
    assert [float(item["a"]) for item in items] in ([2, -3], [2, 2])


def test_schemas_of_the_first_edition_are_read() -> None:
    plain = {
        "columns": [
            {"name": "ill", "kind": "bernoulli", "mean": 0.0, "std": 1.0, "values": ["no", "yes"]},
            {"name": "size", "kind": "normal", "mean": 3.0, "std": 2.0, "values": []},
        ]
    }
    schema = schema_from(plain)
    assert schema.vae_settings()["likelihood"]["columns"] == ["normal:1", "bernoulli:1"]
    x = schema.to_tensor(rows({"ill": ["yes"], "size": ["7"]}))
    assert x.tolist() == [[2, 1]]
    assert schema.to_items(x) == [{"ill": "yes", "size": "7"}]

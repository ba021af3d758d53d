"""Domain and schema of a file: one line about them, and what differs between two, for any domain and any nonsense."""

from typing import Any

import pytest

from vaekit.identification.items import StatedItems, items_of, schema_differences, schema_records, schema_text

TABLE = {"columns": [{"name": "age", "kind": "normal", "mean": 40.0}, {"name": "smoker", "values": ["no", "yes"]}]}
TEXT = {"unit": "words", "tokens": ["a", "dog"], "length": 9}


def renamed_column() -> dict[str, Any]:
    return {"columns": [{**TABLE["columns"][0], "name": "years"}, TABLE["columns"][1]]}


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        (TABLE, "2 columns: age, smoker"),
        (TEXT, "unit words, 2 tokens, length 9"),
        (
            {"codec": "selfies", "stereo": True, "lowercase": False, "column": "", "name": None},
            "codec selfies, stereo, no lowercase",
        ),
        ({}, ""),
        ({"a\x1b[31m": [1, {"name": "b\n"}]}, "2 a [31m: b"),
    ],
)
def test_a_schema_on_one_line(schema: dict[str, Any], text: str) -> None:
    assert schema_text(schema) == text


def test_a_long_schema_is_cut() -> None:
    assert len(schema_text({"columns": [{"name": f"column {n}"} for n in range(10_000)]})) < 310


def test_columns_are_listed_with_their_kinds() -> None:
    schema = {
        "columns": [
            {"name": "pay", "kind": "real", "center": 40.0, "low": 1 / 3},
            {"name": "day", "kind": "date", "low": 1704067200.0, "high": 1e300, "scale": 86400.0},
            {"name": "time", "kind": "date", "low": 1704067201.0, "high": None},
            {"name": "color", "kind": "categorical", "values": [f"c{n}" for n in range(12)]},
        ],
        "unseen": 0.1234567890123,
    }
    assert schema_records(schema) == (
        "pay: real, center 40, low 0.333333",
        "day: date, low 2024-01-01, high 1e+300, scale 86400",
        "time: date, low 2024-01-01T00:00:01, high None",
        "color: categorical, values c0 c1 c2 c3 c4 c5 c6 c7 ...",
    )
    assert schema_text(schema).endswith("unseen 0.123457")


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        (TABLE, renamed_column(), ("columns[0].name: 'age' and 'years'",)),
        (TABLE, {"columns": TABLE["columns"][:1]}, ("columns: 2 and 1 entries",)),
        (TEXT, {**TEXT, "tokens": ["a", "cat"]}, ("tokens[1]: 'dog' and 'cat'",)),
        (TEXT, {**TEXT, "unit": None}, ("unit: 'words' and nothing",)),
        (TEXT, dict(reversed(TEXT.items())), ()),
        (TEXT, {}, ()),
    ],
)
def test_differences_between_schemas(one: dict[str, Any], other: dict[str, Any], found: tuple[str, ...]) -> None:
    assert schema_differences(StatedItems("tables", one), StatedItems("tables", other)) == found


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"a": schema}
    return schema


@pytest.mark.parametrize("depth", [3, 400, 5000])
def test_many_levels_are_no_error(depth: int) -> None:
    assert len(schema_differences(StatedItems("tables", nested(depth)), StatedItems("tables", {"a": {"a": 1}}))) == 1
    assert len(schema_text(nested(depth))) < 310


def test_the_domain_of_a_file_that_states_none() -> None:
    assert items_of({}, axes=2) == ("images", {})
    assert items_of({}, axes=0) == (None, {})
    assert items_of({"vaekit.domain": "tables", "vaekit.schema": "no JSON"}, axes=0) == ("tables", {})


def test_schemas_of_two_domains_are_not_compared() -> None:
    assert schema_differences(StatedItems("tables", {"a": 1}), StatedItems("text", {"a": 2})) == ()

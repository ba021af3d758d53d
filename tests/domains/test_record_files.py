"""Rows and sentences that hostile or unusual files hold."""

import csv
from dataclasses import make_dataclass
from pathlib import Path

import pytest

from vaekit.datasets.csv_rows import read_csv
from vaekit.datasets.dataset import Row
from vaekit.domains.in_memory import check_config
from vaekit.domains.tables.schema import Column, column_from, fit, schema_from
from vaekit.domains.text.schema import TextSchema
from vaekit.errors import BadItem, NoTrainingData
from vaekit.nets.sequence import SequenceConfig


def rows(*values: str) -> list[Row]:
    return [Row(f"x.csv:{number}", {"t": value}) for number, value in enumerate(values)]


def test_large_numbers_are_kept_and_stored() -> None:
    values = [str(1_700_000_000_000_000_000 + step * 10**12) for step in range(60)]
    schema = fit(rows(*values))
    assert schema_from(schema.as_plain()) == schema
    written = [item["t"] for item in schema.to_items(schema.to_tensor(rows(*values)).double())]
    assert [float(value) for value in written] == pytest.approx([float(value) for value in values], abs=1e9)


def test_a_value_beyond_fp32_is_refused() -> None:
    schema = fit(rows(*map(str, range(60))))
    with pytest.raises(BadItem):
        schema.to_tensor(rows("1e39"))
    with pytest.raises(NoTrainingData):
        fit(rows(*(f"{number}e307" for number in range(1, 18))))


@pytest.mark.parametrize(
    "values",
    [
        {"name": "a", "kind": "normal", "mean": "1", "std": 1.0, "values": []},
        {"name": "a", "kind": "normal", "mean": 0.0, "std": 0.0, "values": []},
        {"name": "a", "kind": "normal", "mean": 0.0, "std": 1e-320, "values": []},
        {"name": "a", "kind": "bernoulli", "values": ["red", "red"]},
        {"name": "\udcff", "kind": "normal", "values": []},
        3,
    ],
)
def test_a_damaged_column_is_refused(values: object) -> None:
    with pytest.raises(ValueError):
        column_from(values)


def test_two_columns_of_one_name_are_refused() -> None:
    column = {"name": "a", "kind": "normal", "mean": 0.0, "std": 1.0, "values": []}
    with pytest.raises(ValueError):
        schema_from({"columns": [column, column]})
    assert schema_from({"columns": [column]}).columns == (Column("a", "real", "normal"),)


@pytest.mark.parametrize("tokens", [("a", "\n"), ("a", ""), ("a", "\udcff"), ("a", "a")])
def test_a_damaged_vocabulary_is_refused(tokens: tuple[str, ...]) -> None:
    with pytest.raises(ValueError):
        TextSchema("characters", tokens, 5)


def test_a_schema_of_another_network_is_refused() -> None:

    config = make_dataclass("Config", [("net", SequenceConfig)])(SequenceConfig(5, 6, 2))
    check_config(TextSchema("characters", ("a", "b", "c"), 6), config)
    for schema in (TextSchema("characters", ("a", "b"), 6), TextSchema("characters", ("a", "b", "c"), 10**9)):
        with pytest.raises(ValueError):
            check_config(schema, config)


@pytest.mark.parametrize("content", [b'a,b\n"1"x,red\n', b"x" * 200_000 + b"\n1\n"])
def test_what_csv_cannot_read_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(NoTrainingData):
        read_csv(tmp_path / "x.csv", "x.csv")
    assert csv.field_size_limit() == 131072

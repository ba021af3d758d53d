"""Strict JSON with non-finite values, from records, paths, arrays and scalars."""

import json
import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vaekit.json import dumps, json_object, number, plain


@dataclass(frozen=True)
class Record:
    value: float
    low: float | None = None
    sizes: tuple[int, ...] = ()


def strict(text: str) -> Any:
    """What a parser makes of it that knows no word beside JSON's own."""

    def refuse(word: str) -> None:
        raise AssertionError(word)

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("indent", [2, None])
def test_non_finite_values_are_strings_that_float_reads(indent: int | None) -> None:
    values = {"a": math.nan, "b": math.inf, "c": [-math.inf], "d": Record(math.inf, sizes=(1, 2)), "e": 0.5}
    found = strict(dumps(values, indent))
    assert found == {
        "a": "NaN",
        "b": "Infinity",
        "c": ["-Infinity"],
        "d": {"value": "Infinity", "low": None, "sizes": [1, 2]},
        "e": 0.5,
    }
    assert float(found["b"]) == math.inf and math.isnan(float(found["a"]))


@pytest.mark.parametrize(
    "scalar",
    [np.float32, np.float64, np.float16, np.longdouble, torch.tensor, lambda x: torch.tensor(x, dtype=torch.bfloat16)],
)
def test_scalars_of_numpy_and_torch(scalar: Any) -> None:
    assert plain({"finite": scalar(0.5), "not": scalar(math.inf)}) == {"finite": 0.5, "not": "Infinity"}


def test_arrays_are_lists() -> None:
    assert plain(np.array([[1.0, math.nan]])) == [[1.0, "NaN"]]
    assert plain(torch.tensor([1, 2])) == [1, 2]
    assert plain(np.array([True])) == [True]


def test_other_values() -> None:
    odd = {
        "dtype": torch.float16,
        "path": Path("a/b"),
        "n": np.int64(3),
        "x": np.float32(0.5),
        "third": Fraction(1, 2),
        "yes": True,
        "numpy yes": np.True_,
        "set": {2, 1},
        3: None,
    }
    assert plain(odd) == {
        "dtype": "torch.float16",
        "path": "a/b",
        "n": 3,
        "x": 0.5,
        "third": 0.5,
        "yes": True,
        "numpy yes": True,
        "set": [1, 2],
        "3": None,
    }


def test_finite_values_keep_every_bit() -> None:
    value = 0.1 + 0.2
    assert strict(dumps([value, number(value)])) == [value, value]


def test_names_that_are_not_utf8_are_written() -> None:
    assert dumps({"caf\udce9": Path("caf\udce9")}).encode() == '{\n  "caf\ufffd": "caf\ufffd"\n}'.encode()


@pytest.mark.parametrize("text", [None, "", "{", "[1]", "3", b"\xff", "[" * 100_000])
def test_anything_else_than_an_object_is_empty(text: str | bytes | None) -> None:
    assert json_object(text) == {}
    assert json_object('{"a": [1]}') == {"a": [1]}

import json
from pathlib import Path

import numpy as np
import torch
from example_report import report

from vaekit.comparison.records import Estimate
from vaekit.report.json_file import as_plain, plain, to_json


def strict(text: str) -> dict[str, object]:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    found = json.loads(text, parse_constant=refuse)
    assert isinstance(found, dict)
    return found


def test_it_holds_every_field_under_its_name() -> None:
    found = as_plain(report(), [{"name": "a.png"}])
    assert strict(to_json(found)) == found
    assert found["sets"][1]["defects"][0] == {
        "name": "grid",
        "size": 1.3,
        "unit": "levels",
        "evidence": "Seen in a.png.",
    }
    assert found["sets"][0]["measures"]["psnr"] == {"value": 30.0, "low": 29.0, "high": 31.0}
    assert found["skipped"] == [{"name": "torn.png", "reason": "It ends too soon."}]
    assert set(found) == {"sets", "comparisons", "measures", "skipped", "protocol", "shown"}


def test_what_is_no_number_is_a_string_that_float_reads() -> None:
    values = plain({"a": float("nan"), "b": float("inf"), "c": -float("inf"), "d": Estimate(float("inf"))})
    assert values == {
        "a": "NaN",
        "b": "Infinity",
        "c": "-Infinity",
        "d": {"value": "Infinity", "low": None, "high": None},
    }
    assert float(values["b"]) == float("inf")


def test_odd_values_of_protocols_are_written() -> None:
    odd = {
        "dtype": torch.float16,
        "path": Path("a/b"),
        "n": np.int64(3),
        "x": np.float32(0.5),
        "yes": True,
        "set": {2, 1},
    }
    assert plain(odd) == {"dtype": "torch.float16", "path": "a/b", "n": 3, "x": 0.5, "yes": True, "set": [1, 2]}


def test_names_that_are_not_utf8_are_written() -> None:
    assert to_json({"name": plain("caf\udce9")}).encode() == '{\n  "name": "caf\ufffd"\n}\n'.encode()

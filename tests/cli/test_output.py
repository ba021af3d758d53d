"""What --json prints."""

import json
import math
from pathlib import Path

import pytest

from vaekit.cli.output import print_json


def test_non_finite_values_are_strings_and_not_null(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"psnr": math.inf, "mean": math.nan, "absent": None, "path": Path("a/b")})
    assert json.loads(capsys.readouterr().out) == {
        "version": 2,
        "psnr": "Infinity",
        "mean": "NaN",
        "absent": None,
        "path": "a/b",
    }

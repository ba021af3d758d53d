"""Options that are given twice."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["train", "text", "--data", "a.txt", "--data", "b.txt", "--out", "run"], 2),
        (["sample", "--vae", "builtin", "-n", "3", "-n", "4", "--out", "out"], 2),
        (["compare", "x.png", "--vae", "builtin", "--vae", "missing", "--out", "a.html"], 1),
        (["list", "--json", "--json", "--models", "."], 0),
    ],
)
def test_an_option_with_one_value_is_given_once(arguments: list[str], status: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vaekit", *arguments], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == status, done.stderr
    assert ("times" in done.stderr) == (status == 2)

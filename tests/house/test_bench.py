"""The bench scripts still run; their numbers belong to a quiet machine, not to a test."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
def test_against_diffusers_prints_a_row_for_each_job() -> None:
    call = [sys.executable, BENCH / "against_diffusers.py", "--widths", "32,32,32,64", "--side", "64", "--runs", "1"]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for job in ("encode", "decode"):
        row = next(line for line in done.stdout.splitlines() if line.startswith(job))
        difference = float(re.findall(r"difference\| (\S+)", row)[0])
        assert difference < 1e-4

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


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_whole_checkpoints_prints_a_row_for_each_job(tmp_path: Path) -> None:
    call = [sys.executable, BENCH / "whole_checkpoints.py", "--gigabytes", "0.01", "--widths", "32,64"]
    done = subprocess.run([*call, "--jobs", "extract,bake", "--folder", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    peaks = dict(re.findall(r"^(\S.*?) {2,}(\d+) MB", done.stdout, flags=re.MULTILINE))
    assert peaks.keys() == {"extract", "bake"}
    assert list(tmp_path.iterdir()) == []


def test_folder_prints_both_throughputs_and_their_ratio() -> None:
    sizes = ["--pictures", "6", "--side", "32", "--rounds", "2", "--width", "8"]
    done = subprocess.run([sys.executable, BENCH / "folder.py", *sizes], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = dict(re.findall(r"^(engine alone|files to files) +(\S+) +\d+ ms$", done.stdout, flags=re.MULTILINE))
    assert rows.keys() == {"engine alone", "files to files"}
    assert all(float(row) > 0 for row in rows.values())
    assert float(re.findall(r"^ratio: (\S+) of", done.stdout, flags=re.MULTILINE)[0]) > 0
    assert re.search(r"read \d+\.\d ms, write \d+\.\d ms$", done.stdout)

"""Mutants of real files, read in a process of their own by `mutants.py`. `make nightly` reads twenty times as many."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COUNT = int(os.environ.get("VAEKIT_MUTANTS", "1000"))
SHARED = Path(os.environ.get("VAEKIT_DATA") or Path(__file__).parents[3] / "shared" / "data")
PLANTED = """
import pickle, sys
sys.argv = ["mutants", "100", "1"]
import vaekit.formats.pickle_machine as reader
reader.Machine.call = lambda machine, function, arguments: pickle.loads(b"cposix\\ngetcwd\\n)R.")
exec(open({program!r}).read())
"""


def fuzz(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120 + COUNT)


def test_mutants_are_read_or_refused() -> None:
    """No code runs, nothing but a VaekitError comes, and neither memory nor time grows."""
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc")
    shared = [SHARED] if (SHARED / "vae").is_dir() else []
    ended = fuzz(Path(__file__).with_name("mutants.py"), COUNT, 20261122, *shared)
    assert ended.returncode == 0, ended.stderr[-3000:]
    told = json.loads(ended.stdout)
    print(json.dumps(told, indent=1))  # noqa: T201 (for `make nightly`)
    assert sum(sum(ends.values()) for ends in told["outcomes"].values()) == COUNT
    for ends in told["outcomes"].values():
        assert ends["BadCheckpoint"] > ends["loaded"] > 0


def test_the_watch_sees_code_that_runs() -> None:
    """A reader that unpickles for real is caught by the audit hook, so that a clean run means something."""
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc")
    ended = fuzz("-c", PLANTED.format(program=str(Path(__file__).with_name("mutants.py"))))
    assert ended.returncode != 0
    assert "pickle.find_class" in ended.stderr

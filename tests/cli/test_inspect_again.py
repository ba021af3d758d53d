"""A file that is remembered is told of at once: without importing torch, which takes longer than all the rest."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_a_second_look_imports_no_torch(run: Callable[..., Any], vae_file: Path, cache: Path) -> None:
    first = run("inspect", vae_file, "--json").json
    code = (
        "import sys\nfrom vaekit.cli import app\n"
        f"try:\n    app(['inspect', {str(vae_file)!r}, '--json'])\nexcept SystemExit:\n    pass\n"
        "sys.stderr.write(' '.join({'torch', 'numpy'} & set(sys.modules)))"
    )
    environment = os.environ | {"VAEKIT_CACHE": str(cache)}
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert again.stderr == ""
    assert again.stdout.strip() == run("inspect", vae_file, "--json").out.strip()
    assert first["fingerprint"] in again.stdout

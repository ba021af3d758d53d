"""Count the files of vaekit that a value visits from `vaekit reconstruct IMAGE --vae FILE` to pixels and back.

    python bench/walk.py IMAGE --vae FILE [--list]

A file counts if one of its functions runs during the command: code that runs at import (constants, class bodies) and
functions of files that are only imported do not count. Caches are empty and in a temporary folder.
`sys.setprofile` and `threading.setprofile` see every call in every thread.
"""

import argparse
import os
import sys
import tempfile
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import vaekit
from vaekit.cli import app

ROOT = str(Path(vaekit.__file__).parent)
NOT_FUNCTIONS = ("<module>", "<lambda>")
OPENING = ("open_model",)
"""The function that identifies and loads the VAE."""


@dataclass
class Walk:
    """Calls by file, relative to the package."""

    opening: Counter[str] = field(default_factory=Counter)
    """While the VAE is identified and loaded."""
    running: Counter[str] = field(default_factory=Counter)
    """Before and after that: from the command line to pixels and back."""


def walk(image: Path, vae: str) -> Walk:
    """Run the command and watch it."""
    calls, opened = Walk(), [False]

    def record(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if not code.co_filename.startswith(ROOT):
            return
        if code.co_name in OPENING:
            opened[0] = event == "call"
        if event == "call" and runs(frame):
            files = calls.opening if opened[0] else calls.running
            files[os.path.relpath(code.co_filename, ROOT)] += 1

    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        command = ["reconstruct", str(image), "--vae", vae, "--out", f"{folder}/out", "--json"]
        threading.setprofile(record)
        sys.setprofile(record)
        try:
            app(command, standalone_mode=False)
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]
    return calls


def runs(frame: FrameType) -> bool:
    """Whether a call is work of the command, and no part of an import."""
    if frame.f_code.co_name in NOT_FUNCTIONS or ("." not in frame.f_code.co_qualname and is_class_body(frame)):
        return False
    caller: FrameType | None = frame
    while caller is not None:
        if caller.f_code.co_name == "<module>" and caller.f_code.co_filename.startswith(ROOT):
            return False
        caller = caller.f_back
    return True


def is_class_body(frame: FrameType) -> bool:
    """Whether a frame runs the body of a class."""
    return "__module__" in frame.f_locals


def main() -> None:
    """Print the count, and with --list the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("--vae", required=True)
    parser.add_argument("--list", action="store_true", help="print the files with their calls")
    options = parser.parse_args()
    output, sys.stdout = sys.stdout, sys.stderr  # the command's own JSON goes to stderr
    calls = walk(options.image, options.vae)
    sys.stdout = output
    parts = {"opening the VAE": calls.opening, "running it": calls.running}
    for part, files in parts.items():
        sys.stdout.write(f"{part}: {len(files)} files\n")
        if options.list:
            for name, count in sorted(files.items()):
                sys.stdout.write(f"{count:7,}  {name}\n")
    sys.stdout.write(f"together: {len(calls.opening | calls.running)} files\n")


if __name__ == "__main__":
    main()

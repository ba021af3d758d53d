"""Records beside results, for repeating a call."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaekit.atomic import atomic_file
from vaekit.version import __version__


def write_record(path: Path, record: Mapping[str, Any]) -> Path:
    """Write a JSON file with the version of vaekit, and return its path.

    Raises:
        CannotWrite: the file cannot be written, for example because the disk is full.
    """
    with atomic_file(path) as part:
        part.write_text(json.dumps({"vaekit": __version__, **record}, indent=2) + "\n", "utf-8")
    return path

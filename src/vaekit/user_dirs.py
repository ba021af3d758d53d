"""Folders on the user's machine."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """The cache folder: `$VAEKIT_CACHE`, else `$XDG_CACHE_HOME/vaekit`, else `~/.cache/vaekit`. It may not exist
    yet."""
    folder = os.environ.get("VAEKIT_CACHE")
    if folder:
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vaekit"


def scratch_folder() -> Path:
    """The folder for data that does not fit into memory: `$VAEKIT_SCRATCH`, else a folder in the cache. It may not
    exist yet.

    Not the system's folder for temporary files, which is in memory on many systems.
    """
    folder = os.environ.get("VAEKIT_SCRATCH")
    return Path(folder) if folder else cache_folder() / "scratch"

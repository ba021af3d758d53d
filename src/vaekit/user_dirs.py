"""Folders on the user's machine."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where what can be found again is kept: `$VAEKIT_CACHE`, else `$XDG_CACHE_HOME/vaekit`, else `~/.cache/vaekit`.

    It need not exist.
    """
    told = os.environ.get("VAEKIT_CACHE")
    if told:
        return Path(told)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vaekit"


def scratch_folder() -> Path:
    """Where numbers go that do not fit into memory: `$VAEKIT_SCRATCH`, else a folder in the cache.

    Not the system's folder for temporary files, which is memory itself on many systems. It need not exist.
    """
    told = os.environ.get("VAEKIT_SCRATCH")
    return Path(told) if told else cache_folder() / "scratch"

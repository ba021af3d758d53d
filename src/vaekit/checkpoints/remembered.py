"""Answers about files that take long to find, remembered until the file changes.

A file is the same as long as its path, size and time of change are. Answers are JSON values in one SQLite file in the
user's cache folder: `$VAEKIT_CACHE`, else `$XDG_CACHE_HOME/vaekit`, else `~/.cache/vaekit`. A cache that cannot be read
or written is no error: the answer is found again.
"""

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from vaekit.version import __version__

PATIENCE = 5.0
"""Seconds to wait for another process that writes."""


def cache_folder() -> Path:
    """Where remembered answers are kept; it need not exist."""
    told = os.environ.get("VAEKIT_CACHE")
    if told:
        return Path(told)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vaekit"


def remembered(path: Path, question: str, find: Callable[[], Any]) -> Any:
    """The answer to a question about a file: what was found before, or what `find` finds now.

    Args:
        path: the file; its size and time of change decide whether an old answer still holds.
        question: a name for what is asked. Answers of another version of vaekit are not used.
        find: the answer, as a value that JSON can hold; not called when it is remembered.

    Raises:
        OSError: the file is not there.
    """
    key = stamp(path, question)
    known = recall(key)
    if known is None:
        known = json.dumps(find())
        if stamp(path, question) == key:  # it stayed the same while we looked
            keep(key, known)
    return json.loads(known)


def stamp(path: Path, question: str) -> str:
    """What an answer is remembered under."""
    status = path.stat()
    return json.dumps([__version__, question, os.fspath(path.resolve()), status.st_size, status.st_mtime_ns])


def recall(key: str) -> str | None:
    """The remembered answer under a key, as JSON."""
    try:
        with closing(_open()) as store:
            row = store.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else None
    except (sqlite3.Error, OSError):
        return None


def keep(key: str, answer: str) -> None:
    """Remember an answer, if the cache can be written."""
    try:
        with closing(_open()) as store, store:
            store.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, answer))
    except (sqlite3.Error, OSError):
        return


def _open() -> sqlite3.Connection:
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    store = sqlite3.connect(folder / "answers.sqlite3", timeout=PATIENCE)
    store.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT)")
    return store

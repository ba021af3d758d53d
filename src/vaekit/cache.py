"""Cache results about files on disk until the file changes.

A file is unchanged as long as its path, size and modification time are. Results are JSON values in one SQLite file in
the user's cache folder. A cache that cannot be read or written is not an error: results are computed again.
"""

import json
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from vaekit.user_dirs import cache_folder
from vaekit.version import __version__

PATIENCE = 5.0
"""Seconds to wait for another process that is writing."""
MOST_KEYS = 500
"""The maximum number of keys per query; SQLite has a limit."""


def cached_result(path: Path, question: str, find: Callable[[], Any]) -> Any:
    """The cached result about a file, or that of `find`, which is then cached.

    Args:
        path: the file; its size and modification time determine whether a cached result is valid.
        question: the name of the result. Results of another version of vaekit are not used.
        find: computes the result, a JSON-compatible value; not called if it is cached.

    Raises:
        OSError: the file does not exist.
    """
    key = stamp(path, question)
    known = recall([key])
    if key in known:
        return known[key]
    answer = json.loads(json.dumps(find()))  # the same types as from the cache
    if stamp(path, question) == key:  # unchanged meanwhile
        keep({key: answer})
    return answer


def stamp(path: Path, question: str) -> str:
    """The cache key of a result about a file.

    Raises:
        OSError: the file does not exist.
    """
    status = path.stat()
    return json.dumps([__version__, question, os.path.realpath(path), status.st_size, status.st_mtime_ns])


def recall(keys: Sequence[str]) -> dict[str, Any]:
    """The cached results by key; keys without one are omitted."""
    known: dict[str, Any] = {}
    try:
        with closing(_open()) as store:
            for start in range(0, len(keys), MOST_KEYS):
                batch = keys[start : start + MOST_KEYS]
                places = ",".join("?" * len(batch))
                known |= dict(store.execute(f"SELECT key, answer FROM answers WHERE key IN ({places})", batch))
        return {key: json.loads(answer) for key, answer in known.items()}
    except (sqlite3.Error, OSError, ValueError):
        return {}


def keep(answers: Mapping[str, Any]) -> None:
    """Store results in one transaction, if the cache is writable."""
    rows = [(key, json.dumps(answer)) for key, answer in answers.items()]
    try:
        with closing(_open()) as store, store:
            store.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?)", rows)
    except (sqlite3.Error, OSError):
        return


def _open() -> sqlite3.Connection:
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    store = sqlite3.connect(folder / "answers.sqlite3", timeout=PATIENCE)
    store.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT)")
    return store

"""Answers about files that take long to find, remembered until the file changes.

A file is the same as long as its path, size and time of change are. Answers are JSON values in one SQLite file in the
user's cache folder. A cache that cannot be read or written is no error: the answer is found again.
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
"""Seconds to wait for another process that writes."""
MOST_KEYS = 500
"""Keys asked for at once; SQLite has a limit."""


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
    known = recall([key])
    if key in known:
        return known[key]
    answer = json.loads(json.dumps(find()))  # what JSON makes of it, now as later
    if stamp(path, question) == key:  # it stayed the same while we looked
        keep({key: answer})
    return answer


def stamp(path: Path, question: str) -> str:
    """What an answer is remembered under.

    Raises:
        OSError: the file is not there.
    """
    status = path.stat()
    return json.dumps([__version__, question, os.fspath(path.resolve()), status.st_size, status.st_mtime_ns])


def recall(keys: Sequence[str]) -> dict[str, Any]:
    """The remembered answers under those of the keys that have one."""
    known: dict[str, Any] = {}
    try:
        with closing(_open()) as store:
            for start in range(0, len(keys), MOST_KEYS):
                some = keys[start : start + MOST_KEYS]
                places = ",".join("?" * len(some))
                known |= dict(store.execute(f"SELECT key, answer FROM answers WHERE key IN ({places})", some))
        return {key: json.loads(answer) for key, answer in known.items()}
    except (sqlite3.Error, OSError, ValueError):
        return {}


def keep(answers: Mapping[str, Any]) -> None:
    """Remember answers, in one transaction, if the cache can be written."""
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

"""The log of skipped items, with reasons, in a file of the run."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vaekit.errors import printable
from vaekit.reading import LINES, read_text


class SkipLog:
    """Skipped items and the reasons.

    Nothing is written before `write` is called, so that a rejected run leaves its folder unchanged. A pickled log is
    silent after unpickling: messages are for the process that opened the data.

    Args:
        path: the log file, one `name<tab>reason` per line; None keeps the log in memory. Names that are already in the
            file are not written again.
        say: called with the first reason, and with other messages about the data.
    """

    def __init__(self, path: Path | None = None, say: Callable[[str], None] = lambda _: None) -> None:
        self.path, self.say = path, say
        self.reasons: dict[str, str] = {}
        self._once: set[str] = set()
        self._pending: list[str] = []
        self._written: set[str] | None = None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("say", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, say=silent, _lock=threading.Lock())

    def note(self, name: str, why: str) -> None:
        """Log a skipped item."""
        with self._lock:
            if name in self.reasons:
                return
            self.reasons[name] = why
            self._pending.append(name)
            first = len(self.reasons) == 1
        if first:
            where = "" if self.path is None else f" All skipped items are listed in {self.path}."
            self.say(f"Skipped: {printable(why, 300)} Other unreadable items are skipped too.{where}")

    def say_once(self, topic: str, message: str) -> None:
        """Call `say` with the first message about a topic."""
        with self._lock:
            first = topic not in self._once
            self._once.add(topic)
        if first:
            self.say(message)

    def write(self) -> None:
        """Append new entries to the file. Errors of writing are ignored: they must not stop the training."""
        if not self._pending or self.path is None:
            return
        with self._lock:
            names, self._pending = self._pending, []
            try:
                if self._written is None:
                    lines = read_text(self.path, LINES, "replace").splitlines() if self.path.is_file() else []
                    self._written = {line.partition("\t")[0] for line in lines}
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with open(self.path, "a", encoding="utf-8") as file:
                    for name in names:
                        shown = printable(name, 1000)
                        if shown not in self._written:
                            file.write(f"{shown}\t{printable(self.reasons[name], 300)}\n")
                            self._written.add(shown)
            except OSError:
                return


def silent(_: str) -> None:
    """Ignore a message."""

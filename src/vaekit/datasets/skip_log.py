"""Items that were left out of a training, with the reasons, in a file of the run."""

import threading
from collections.abc import Callable
from pathlib import Path

from vaekit.errors import printable


class SkipLog:
    """Items that are left out, and why.

    Nothing is written before `write` is called, so that a run that is refused leaves its folder as it was.

    Args:
        path: the list, one `name<tab>reason` a line; None keeps it in memory. Names already in the file are not
            written again.
        say: called with the first reason, and with what a person should know.
    """

    def __init__(self, path: Path | None = None, say: Callable[[str], None] = lambda _: None) -> None:
        self.path, self.say = path, say
        self.reasons: dict[str, str] = {}
        self._once: set[str] = set()
        self._pending: list[str] = []
        self._written: set[str] | None = None
        self._lock = threading.Lock()

    def note(self, name: str, why: str) -> None:
        """Leave an item out."""
        with self._lock:
            if name in self.reasons:
                return
            self.reasons[name] = why
            self._pending.append(name)
            first = len(self.reasons) == 1
        if first:
            where = "" if self.path is None else f" All of them are listed in {self.path}."
            self.say(f"Left out: {printable(why, 300)} So is whatever else cannot be read.{where}")

    def say_once(self, topic: str, message: str) -> None:
        """Pass on the first message about a topic."""
        with self._lock:
            first = topic not in self._once
            self._once.add(topic)
        if first:
            self.say(message)

    def write(self) -> None:
        """Bring the list up to date. A list that cannot be written does not stop the training."""
        if not self._pending or self.path is None:
            return
        with self._lock:
            waiting, self._pending = self._pending, []
            try:
                if self._written is None:
                    lines = self.path.read_text("utf-8").splitlines() if self.path.is_file() else []
                    self._written = {line.partition("\t")[0] for line in lines}
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with open(self.path, "a", encoding="utf-8") as file:
                    for name in waiting:
                        shown = printable(name, 1000)
                        if shown not in self._written:
                            file.write(f"{shown}\t{printable(self.reasons[name], 300)}\n")
                            self._written.add(shown)
            except OSError:
                return

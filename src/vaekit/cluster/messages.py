"""Messages between the process that was started and the one that talks to Ray, pickled, over pipes."""

import pickle
from dataclasses import dataclass
from threading import Lock
from typing import IO, Any

MORE, RESULT, SAID, FAILED, BROKE, END = "more", "result", "said", "failed", "broke", "end"
"""Of the process that talks to Ray: it needs a shard; the result of one; a sentence for the user; an error of vaekit;
another error, as text; all shards are done."""
SHARD, NO_MORE, STOP = "shard", "no more", "stop"
"""To the process that talks to Ray: a shard; there are no more; end now."""


@dataclass(frozen=True)
class Settings:
    """What a run on Ray needs beside its shards."""

    address: str | None
    workers: int | None
    use_gpus: bool
    patience: float
    work: bytes
    """The pickled `vaekit.shards.Work`."""


@dataclass(frozen=True)
class Sealed:
    """A shard on its way through processes that may not know its class."""

    number: int
    name: str
    content: bytes
    """The pickled specification."""

    def __str__(self) -> str:
        return self.name


class Channel:
    """Messages that are read from one stream and written to another one. Several threads may send."""

    def __init__(self, source: IO[bytes], sink: IO[bytes]) -> None:
        self._source, self._sink, self._lock = source, sink, Lock()

    def send(self, kind: str, value: Any = None) -> None:
        """Send a message.

        Raises:
            OSError, ValueError: the other process has ended, or the channel is closed.
        """
        content = pickle.dumps((kind, value), protocol=pickle.HIGHEST_PROTOCOL)
        with self._lock:
            self._sink.write(content)
            self._sink.flush()

    def receive(self) -> tuple[str, Any] | None:
        """The next message; None if the other process has ended."""
        try:
            kind, value = pickle.load(self._source)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            return None
        return kind, value

    def close(self) -> None:
        """Close both streams; what the other process has not read is lost."""
        for stream in (self._sink, self._source):
            try:
                stream.close()
            except OSError:  # the other process has ended
                continue

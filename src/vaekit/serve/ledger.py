"""Memory that requests in progress may take together."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from vaekit.runtime.memory import format_bytes
from vaekit.serve.refusals import TOO_LARGE, Refusal, busy


class Ledger:
    """Counts the bytes of bodies, tensors and results before they are allocated.

    Args:
        total: bytes for all requests together.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._taken = 0
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        """The bytes of the requests in progress."""
        return self._taken

    @contextmanager
    def reserved(self, nbytes: int) -> Iterator[None]:
        """Hold an amount of memory during the block.

        Raises:
            Refusal: 413 if it exceeds all that there is, 503 if others hold it now.
        """
        if nbytes > self.total:
            raise Refusal(
                TOO_LARGE,
                "too_large",
                f"The request would take {format_bytes(nbytes)} of memory beside the network; this server allows "
                f"{format_bytes(self.total)} for all requests.",
            )
        with self._lock:
            if self._taken + nbytes > self.total:
                raise busy("Other requests take the memory of this server now.", 1)
            self._taken += nbytes
        try:
            yield
        finally:
            with self._lock:
                self._taken -= nbytes

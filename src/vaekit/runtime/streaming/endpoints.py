"""Ends of a run that are not tensors: an input that is read by ranges, and an output that is written in order.

Both let a run handle items that do not fit into memory. One thread runs all slabs then, from top to bottom.
"""

from collections.abc import Callable, Sequence

from torch import Tensor

from vaekit.runtime.streaming.arena import Arena
from vaekit.runtime.streaming.buffers import RowBuffer

Read = Callable[[int, int], Tensor]
"""Start and end of a range of rows -> these rows of an input (1, c, rows, ...)."""
Write = Callable[[Tensor], None]
"""Takes the next rows of an output (1, c, rows, ...)."""


class ReadRows:
    """An input that is read in order, once in each stage that needs it; of its rows, those in use are in memory.

    Args:
        read: reads a range of rows.
        axis: of the rows.
        arena: for the memory of rows that are read again.
    """

    def __init__(self, read: Read, axis: int, arena: Arena) -> None:
        self.axis = axis
        self._read = read
        self._arena = arena
        self._rows = RowBuffer(axis, 1, 0, arena)

    def pieces(self, a: int, b: int) -> list[Tensor]:
        """Rows a..b."""
        if not self._rows.start <= a <= self._rows.end:  # another stage begins
            self._rows.close()
            self._rows = RowBuffer(self.axis, 1, a, self._arena)
        if b > self._rows.end:
            self._rows.append(self._read(self._rows.end, b))
        return self._rows.pieces(a, b)

    def keep_only(self, needed: Sequence[tuple[int, int]], permanently: bool) -> None:
        """Free the rows before all of these ranges."""
        self._rows.release(min((a for a, _ in needed), default=self._rows.end))


class WrittenRows:
    """An output whose rows are passed on as soon as they are computed.

    Args:
        write: takes the next rows.
        axis: of the rows.
    """

    def __init__(self, write: Write, axis: int) -> None:
        self.done = 0
        """The number of rows that were written."""
        self._write = write
        self._axis = axis

    def put(self, start: int, tensor: Tensor) -> None:
        """Pass on rows, of which the first is `start`."""
        assert start == self.done
        self.done += tensor.shape[self._axis]
        self._write(tensor.clone())  # it may be a view of memory that is reused

    def pieces(self, a: int, b: int) -> list[Tensor]:
        """Never called: no step reads the output."""
        raise AssertionError("a step reads the output of the network")

    def keep_only(self, needed: Sequence[tuple[int, int]], permanently: bool) -> None:
        """Does nothing: no rows are kept."""

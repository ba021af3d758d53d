"""Errors of disks and networks while an item is read, and reading again after those that may pass."""

import errno
import time
from collections.abc import Callable
from typing import TypeVar

from vaekit.errors import BadItem, NoTrainingData, VaekitError, printable

PASSING = frozenset(
    (
        *(errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ENODEV, errno.ENXIO),
        *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
        *(errno.ENOTCONN, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ECONNRESET, errno.ECONNREFUSED),
    )
)
"""Errors of a disk, a network or a system that is short of something; the item may be fine."""
PAUSES = (0.2, 1.0, 5.0)
"""Seconds to wait before an item is read again after such an error."""

Read = TypeVar("Read")


def read_error(name: str, error: OSError | MemoryError) -> BadItem:
    """The error that a user sees where an item cannot be read from the disk. Raise it `from error`."""
    if isinstance(error, MemoryError):
        return BadItem(f"{printable(name)} does not fit into memory.", "", "Make it smaller with another program.")
    reason = error.strerror or printable(str(error)) or type(error).__name__
    return BadItem(f"{printable(name)} could not be opened: {reason}.", "", "Check the file and who may read it.")


def is_transient(error: VaekitError) -> bool:
    """Whether the cause of an error is not the item, and may be over in a moment."""
    cause = error.__cause__
    return isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno in PASSING)


def with_retries(read: Callable[[], Read]) -> Read:
    """Read an item, again after a pause while the disk or network fails.

    An item is left out only for what is wrong with the item itself: one left out for an outage would be back after a
    restart, and the run would be another one.

    Raises:
        BadItem, NotFound: the item is damaged, or takes more memory than there is, time after time.
        NoTrainingData: the disk or the network keeps failing.
    """
    for pause in PAUSES:
        try:
            return read()
        except BadItem as error:
            if not is_transient(error):
                raise
        time.sleep(pause)
    try:
        return read()
    except BadItem as error:
        if not is_transient(error) or isinstance(error.__cause__, MemoryError):
            raise
        raise NoTrainingData(
            f"{error.found} That is so after {1 + len(PAUSES)} tries.",
            "The disk or the network is at fault, not the item, so no other takes its place.",
            "Once it can be read, the same command goes on. If the disk has lost it for good, put any file of the same "
            "size there: that one is left out.",
        ) from error

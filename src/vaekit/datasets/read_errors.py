"""Errors of disks and networks while items are read, and retries after transient ones."""

import errno
import time
from collections.abc import Callable
from typing import TypeVar

from vaekit.errors import BadItem, NoTrainingData, VaekitError, printable, reason_of

TRANSIENT = frozenset(
    (
        *(errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ENODEV, errno.ENXIO),
        *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
        *(errno.ENOTCONN, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ECONNRESET, errno.ECONNREFUSED),
    )
)
"""Errors of disks, networks, or missing resources, which are not caused by the item."""
PAUSES = (0.2, 1.0, 5.0)
"""Seconds before each retry."""

Read = TypeVar("Read")


def read_error(name: str, error: OSError | MemoryError) -> BadItem:
    """The error for an item that cannot be read from disk. Raise it `from error`."""
    if isinstance(error, MemoryError):
        return BadItem(f"{printable(name)} does not fit into memory.", "", "Reduce its size.")
    return BadItem(
        f"{printable(name)} could not be opened: {reason_of(error)}.", "", "Check the file and its permissions."
    )


def is_transient(error: VaekitError) -> bool:
    """Whether an error is not caused by the item, and a retry may succeed."""
    cause = error.__cause__
    return isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno in TRANSIENT)


def with_retries(read: Callable[[], Read]) -> Read:
    """Read an item, and retry after transient errors.

    Items are skipped only if they are damaged: an item that is skipped because of an outage would not be skipped after
    a restart, and the run would not be reproducible.

    Raises:
        BadItem, NotFound: the item is damaged, or repeatedly does not fit into memory.
        NoTrainingData: the disk or network error persists.
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
            f"{error.found} {1 + len(PAUSES)} attempts failed.",
            "This is an error of the disk or network, not of the item, so the item is not skipped.",
            "The same command resumes the run once the item can be read. If it is lost, replace it by any file of the "
            "same size, which is skipped as damaged.",
        ) from error

"""Progress of a training run, and a way to stop it."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vaekit.cli.output import log, progress_bar

if TYPE_CHECKING:
    from vaekit.training.log import LogEvent


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed or SIGTERM received: the run saves its state and ends. A second Ctrl-C ends it at
    once."""
    received: list[int] = []

    def handle(number: int, _: object) -> None:
        if number == signal.SIGINT and signal.SIGINT in received:
            raise KeyboardInterrupt
        if not received:
            log("Stopping after this step; press Ctrl-C again to stop at once.")
        received.append(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def training_progress() -> Iterator[tuple[Callable[["LogEvent"], None], Callable[[int, int], None]]]:
    """A bar for samples on a terminal with a line for each validation; and the bar itself, which starts again for what
    is measured at the end."""
    with progress_bar("samples") as bar:

        def show(event: "LogEvent") -> None:
            bar(event.samples, event.total)
            if event.held_out:
                values = "  ".join(
                    f"{name} {value:.4g}" for name, value in event.numbers.items() if isinstance(value, float)
                )
                log(f"{event.samples:>12,} samples  {elapsed(event.seconds):>9}  {values}")

        yield show, bar


def elapsed(seconds: float) -> str:
    """A duration in a log line.

    >>> elapsed(5.2), elapsed(754)
    ('5.2 s', '12.6 min')
    """
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"

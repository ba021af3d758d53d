"""A training under way: how it goes, and a way to stop it."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vaekit.cli.output import log, progress_bar

if TYPE_CHECKING:
    from vaekit.training.log import LogEvent


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Whether somebody pressed Ctrl-C, or a scheduler wants the machine back (SIGTERM): the run is to save its state
    and end. Ctrl-C a second time ends it at once."""
    asked: list[int] = []

    def ask(number: int, _: object) -> None:
        if number == signal.SIGINT and signal.SIGINT in asked:
            raise KeyboardInterrupt
        if not asked:
            log("Stopping after this step; Ctrl-C once more to stop at once.")
        asked.append(number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def training_progress() -> Iterator[tuple[Callable[["LogEvent"], None], Callable[[int, int], None]]]:
    """A bar for samples on a terminal, and a line for each look at the held-out items; and the bar itself, which begins
    anew for what is measured at the end."""
    with progress_bar("samples") as bar:

        def tell(news: "LogEvent") -> None:
            bar(news.samples, news.total)
            if news.held_out:
                parts = "  ".join(
                    f"{name} {value:.4g}" for name, value in news.numbers.items() if isinstance(value, float)
                )
                log(f"{news.samples:>12,} samples  {news.seconds / 60:6.1f} min  {parts}")

        yield tell, bar

"""A training under way: how it goes, and a way to stop it."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vaekit.cli.output import counting, say

if TYPE_CHECKING:
    from vaekit.training.run import News


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Whether somebody pressed Ctrl-C: the run is to save its state and end. The second time ends it at once."""
    asked: list[int] = []

    def ask(number: int, _: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        say("Stopping after this step; once more to stop at once.")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def watched() -> Iterator[Callable[["News"], None]]:
    """A bar for samples on a terminal, and a line for each look at the held-out items."""
    with counting("samples") as bar:

        def tell(news: "News") -> None:
            bar(news.samples, news.total)
            if news.held_out:
                parts = "  ".join(
                    f"{name} {value:.4g}" for name, value in news.numbers.items() if isinstance(value, float)
                )
                say(f"{news.samples:>12,} samples  {news.seconds / 60:6.1f} min  {parts}")

        yield tell

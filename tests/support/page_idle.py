"""Waiting for a page of `vaekit serve` to have finished its work."""

from typing import Any

IDLE = "!document.querySelector('.busy:not([hidden])') && !document.querySelector('.working')"
CALM, PAUSE, LONGEST = 3, 50, 800
"""Looks in a row at which nothing runs, milliseconds between them, and the maximum number of looks."""


def wait_until_idle(page: Any) -> None:
    """Wait until nothing runs. The policy of the page forbids Playwright's own waiting for functions."""
    calm = 0
    for _ in range(LONGEST):
        calm = calm + 1 if page.evaluate(IDLE) else 0
        if calm == CALM:
            return
        page.wait_for_timeout(PAUSE)
    raise AssertionError("something still runs")

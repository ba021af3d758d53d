"""Waiting for a page of `vaekit serve` to have finished its work."""

from typing import Any

IDLE = "!document.querySelector('.busy:not([hidden]), .working, .empty')"
CALM, PAUSE, LONGEST = 3, 50, 1200
"""Looks in a row at which nothing runs, milliseconds between them, and the maximum number of looks."""

LEVELS = """
(selector) => {
  const canvas = document.querySelector(selector);
  const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  return [...context.getImageData(0, 0, canvas.width, canvas.height).data];
}
"""
"""A function for `evaluate` that returns the levels of a canvas, and says nothing on the console about it."""


def wait_until_idle(page: Any) -> None:
    """Wait until nothing runs. The policy of the page forbids Playwright's own waiting for functions."""
    calm = 0
    for _ in range(LONGEST):
        calm = calm + 1 if page.evaluate(IDLE) else 0
        if calm == CALM:
            return
        page.wait_for_timeout(PAUSE)
    raise AssertionError("something still runs")

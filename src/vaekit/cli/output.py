"""Where results go: tables and JSON to stdout, progress and complaints to stderr. The only place that prints."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from vaekit.errors import CannotWriteHere, VaekitError, printable
from vaekit.json import dumps

if TYPE_CHECKING:
    from vaekit.pipeline import Stages

Result = TypeVar("Result")
WIDE = 240
"""Letters in a line where nobody sees its end."""
ROOM = 2**24
"""Pixels of images under way at once, beyond a single one: as floats, original and result, 0.4 GB."""


@dataclass(frozen=True)
class Failure:
    """An image or latent that could not be done, and why."""

    path: str
    error: str


def print_json(result: Mapping[str, Any]) -> None:
    """One JSON object on stdout, see `vaekit.json`."""
    sys.stdout.write(dumps(result) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> None:
    """A table on stdout: the first `left` columns are words, the others numbers."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    for i, column in enumerate(columns):
        if i < left:
            table.add_column(column, header_style="dim", overflow="ellipsis", no_wrap=True)
        else:
            table.add_column(column, header_style="dim", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    out = console()
    out.print(title, style="bold", soft_wrap=True)  # a table's own title is broken at the table's width
    out.print(table)


def print_facts(title: str, facts: Mapping[str, str] | Sequence[tuple[str, str]]) -> None:
    """Names and values in two columns on stdout; a name may come more than once."""
    table = Table(
        title=title, title_justify="left", title_style="bold", box=None, show_header=False, padding=(0, 2, 0, 0)
    )
    pairs = list(facts.items()) if isinstance(facts, Mapping) else facts
    table.add_column(style="dim", no_wrap=True, max_width=console().width // 2)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(name, value)
    console().print(table)


def console() -> Console:
    """Stdout without markup or emoji: a file name such as [bold].png is printed as it is.

    What goes into a file or a pipe is as wide as it needs to be: a name that is cut is of no use to `grep`.
    """
    terminal = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(markup=False, emoji=False, highlight=False, width=None if terminal else WIDE)


def shorten(text: str, most: int) -> str:
    """A text of at most so many letters, with the middle left out: names differ at both ends."""
    if len(text) <= most:
        return text
    tail = (most - 1) // 2
    return f"{text[: most - 1 - tail]}…{text[len(text) - tail :]}"


def format_bytes(count: int) -> str:
    """A number of bytes as a person says it."""
    return decimal(count)


def log(text: str) -> None:
    """One line to stderr."""
    sys.stderr.write(text + "\n")


def log_notes(path: Path, notes: Sequence[str]) -> None:
    """What was done to one file's values, on one line of stderr; nothing where there is nothing to say."""
    if notes:
        log(f"{path.name}: {'; '.join(notes)}")


def show_error(error: VaekitError, as_json: bool) -> None:
    """Tell a user error in one paragraph; for programs also as an object on stdout."""
    log(f"vaekit: {error}")
    if as_json:
        kind = type(error).__name__
        told = {"kind": kind, "found": error.found, "expected": error.expected, "remedy": error.remedy}
        print_json({"error": told})


def run_all(paths: Sequence[Path], steps: "Stages[Path, Any, Any, Result]") -> tuple[list[Result], list[Failure]]:
    """Do every file, the next being read and the last being written meanwhile; show progress for more than one.

    After a user error the others go on, and failures come back beside the results. Where the disk is full, or the
    folder refuses, no others are begun, and this is told once.
    """
    from vaekit.pipeline import run_pipeline
    from vaekit.runtime.threads import single_threaded_initializer

    results: list[Result] = []
    failures: list[Failure] = []
    refusals: list[CannotWriteHere] = []
    left = dict.fromkeys(paths)

    def run(path: Path, value: Any) -> Any:
        if refusals:  # what comes of it could not be written
            raise refusals[0]
        return steps.run(path, value)

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    begun = takewhile(lambda _: not refusals, paths)
    with (
        Progress(*columns, console=Console(stderr=True), disable=len(paths) < 2, transient=True) as progress,
        single_threaded_initializer(),
        closing(run_pipeline(begun, replace(steps, run=run), VaekitError, ROOM)) as outcomes,
    ):
        bar = progress.add_task("images", total=len(paths))
        for outcome in outcomes:
            progress.advance(bar)
            if isinstance(outcome.error, CannotWriteHere):
                if refusals:
                    continue
                refusals.append(outcome.error)
            del left[outcome.item]
            if outcome.error is None:
                results.append(cast("Result", outcome.done))
            else:
                failures.append(Failure(str(outcome.item), str(outcome.error)))
    for failure in failures:
        log(f"vaekit: {failure.error}")
    if left:
        log(f"vaekit: {len(left)} more were not done.")
    failures += [Failure(str(path), f"{path} was not done: {refusals[0].found}") for path in left]
    return results, failures


@contextmanager
def bytes_moved(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show on stderr how much of a file has come; the function given takes the bytes that are there and all of them."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with _shown_while_it_lasts(*columns) as bar:
        task = bar.add_task(printable(what, 40), total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total or None, visible=True)


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show on stderr how many of some things are done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with _shown_while_it_lasts(*columns) as bar:
        task = bar.add_task(what, total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


def _shown_while_it_lasts(*columns: ProgressColumn) -> Progress:
    """A progress bar on stderr that is gone afterwards; none where stderr is a file or a pipe."""
    errors = Console(stderr=True)
    return Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal)


@contextmanager
def spinner(what: str) -> Iterator[None]:
    """Show on stderr that something goes on; nothing where stderr is a file or a pipe."""
    errors = Console(stderr=True)
    if not errors.is_terminal:
        yield
        return
    with errors.status(what, spinner="dots"):
        yield

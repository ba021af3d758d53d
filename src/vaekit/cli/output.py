"""Where results go: tables and JSON to stdout, progress and complaints to stderr. The only place that prints."""

import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

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

from vaekit.errors import VaekitError, legible

Result = TypeVar("Result")
WIDE = 240
"""Letters in a line where nobody sees its end."""


@dataclass(frozen=True)
class Failure:
    """A picture or latent that could not be done, and why."""

    path: str
    error: str


def print_json(result: Mapping[str, Any]) -> None:
    """One JSON object on stdout. What is not a number (a PSNR of equal pictures is infinite) becomes null."""
    sys.stdout.write(json.dumps(plain(result), indent=2, ensure_ascii=False) + "\n")


def plain(value: Any) -> Any:
    """A value in JSON's own types."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> None:
    """A table on stdout: the first `left` columns are words, the others numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 1, 0, 0))
    for i, column in enumerate(columns):
        if i < left:
            table.add_column(column, header_style="dim", overflow="ellipsis", no_wrap=True)
        else:
            table.add_column(column, header_style="dim", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console().print(table)


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


def size_words(count: int) -> str:
    """A number of bytes as a person says it."""
    return decimal(count)


def say(text: str) -> None:
    """One line to stderr."""
    sys.stderr.write(text + "\n")


def say_notes(path: Path, notes: Sequence[str]) -> None:
    """What was done to one file's values, on one line of stderr; nothing where there is nothing to say."""
    if notes:
        say(f"{path.name}: {'; '.join(notes)}")


def show_error(error: VaekitError, as_json: bool) -> None:
    """Tell a user error in one paragraph; for programs also as an object on stdout."""
    say(f"vaekit: {error}")
    if as_json:
        kind = type(error).__name__
        told = {"kind": kind, "found": error.found, "expected": error.expected, "remedy": error.remedy}
        print_json({"error": told})


def each(paths: Sequence[Path], work: Callable[[Path], Result]) -> tuple[list[Result], list[Failure]]:
    """Do every file, show progress for more than one, and go on after a user error; failures come back beside."""
    results: list[Result] = []
    failures: list[Failure] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=len(paths) < 2, transient=True) as progress:
        for path in progress.track(paths, description="pictures"):
            try:
                results.append(work(path))
            except VaekitError as error:
                failures.append(Failure(str(path), str(error)))
    for failure in failures:
        say(f"vaekit: {failure.error}")
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
        task = bar.add_task(legible(what, 40), total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total or None, visible=True)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show on stderr how many of some things are done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with _shown_while_it_lasts(*columns) as bar:
        task = bar.add_task(what, total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


def _shown_while_it_lasts(*columns: ProgressColumn) -> Progress:
    """A progress bar on stderr that is gone afterwards; none where stderr is a file or a pipe."""
    errors = Console(stderr=True)
    return Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal)

"""Output: tables and JSON to stdout, progress and messages to stderr. Only this module prints.

Text may contain names of files and metadata of others. Everything that is printed here has its control characters
escaped, see `vaekit.errors.visible`.
"""

import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from vaekit.errors import VaekitError, of_system, printable, visible
from vaekit.json import dumps, in_ascii

if TYPE_CHECKING:
    from vaekit.domains.files import FileResult
    from vaekit.tasks.batch import Batch

VERSION = 2
"""The version of the JSON objects. Version 1 had other names for some keys, and no version."""
WIDE = 240
"""The line width in characters if stdout is a file or a pipe."""


Lines = str | Sequence[str]
"""A value in a table: a line, or several."""


def open_closed_streams() -> None:
    """Connect stdin, stdout and stderr to the null device where they are closed, as by `>&-` in a shell.

    Otherwise a file that is opened later would get the number of stdout, and libraries would print into it.
    """
    for number in range(3):
        with suppress(OSError):
            os.fstat(number)
            continue
        os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)


def accept_any_text() -> None:
    """Print characters that the encoding of stdout lacks as escape sequences, instead of raising an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def finish_output() -> bool:
    """Write the rest of stdout; returns whether that is possible.

    What cannot be written is dropped: Python would fail again when it exits. That the reader of a pipe has ended, as
    `head` does, needs no message.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            show_error(of_system(error), as_json=False)
        with suppress(OSError, ValueError):  # not a file of the system
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)
        return False
    return True


def print_json(result: Mapping[str, Any]) -> None:
    """One JSON object on stdout, with the version of its keys; see `vaekit.json` for non-finite values."""
    text = dumps({"version": VERSION, **result})
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except (UnicodeError, LookupError):
        text = in_ascii(text)
    sys.stdout.write(text + "\n")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> None:
    """A table on stdout: the first `left` columns are aligned left, the others right."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    for i, column in enumerate(columns):
        if i < left:
            table.add_column(column, header_style="dim", overflow="ellipsis", no_wrap=True)
        else:
            table.add_column(column, header_style="dim", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*map(visible, row))
    print_titled(title, table)


def print_titled(title: str, table: Table) -> None:
    """A table under its title on stdout. A table's own title would be broken at the table's width."""
    out = console()
    out.print(visible(title), style="bold", soft_wrap=True)
    out.print(table)


def print_facts(title: str, facts: Mapping[str, Lines] | Sequence[tuple[str, Lines]]) -> None:
    """Names and values in two columns on stdout; a name may occur more than once."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    pairs = list(facts.items()) if isinstance(facts, Mapping) else facts
    table.add_column(style="dim", no_wrap=True, max_width=console().width // 2)
    table.add_column(overflow="fold")
    for name, value in pairs:
        lines = [value] if isinstance(value, str) else value
        table.add_row(visible(name), "\n".join(map(visible, lines)))
    print_titled(title, table)


def print_lines(lines: Iterable[str]) -> None:
    """Lines on stdout, as they are but for control characters."""
    for line in lines:
        sys.stdout.write(visible(line) + "\n")


def console() -> Console:
    """Stdout without markup or emoji: a file name such as [bold].png is printed as it is.

    Output into a file or a pipe is not cut at the terminal's width: `grep` needs whole names.
    """
    terminal = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(markup=False, emoji=False, highlight=False, width=None if terminal else WIDE)


def shorten(text: str, most: int) -> str:
    """A text of at most `most` characters, with the middle left out: names differ at both ends."""
    if len(text) <= most:
        return text
    tail = (most - 1) // 2
    return f"{text[: most - 1 - tail]}…{text[len(text) - tail :]}"


def format_bytes(count: int) -> str:
    """A number of bytes in decimal units."""
    return decimal(count)


def log(text: str) -> None:
    """One line to stderr."""
    sys.stderr.write(visible(text) + "\n")


def log_note(name: str, note: str) -> None:
    """A note on one VAE, such as which of its weights were taken, on one line of stderr; nothing without a note."""
    if note:
        log(f"{name}: {note}")


def log_notes(path: Path, notes: Sequence[str]) -> None:
    """The notes on one file, on one line of stderr; nothing without notes."""
    if notes:
        log(f"{path.name}: {'; '.join(notes)}")


def show_error(error: VaekitError, as_json: bool) -> None:
    """Print a user error as one paragraph on stderr; with `as_json` also as an object on stdout."""
    log(f"vaekit: {error}")
    if as_json:
        kind = type(error).__name__
        fields = {"kind": kind, "found": error.found, "expected": error.expected, "remedy": error.remedy}
        with suppress(OSError):  # it may be the error that nothing can be written there
            print_json({"error": fields})


def show_usage_error(error: Any) -> int:
    """Print an error of typer about arguments, or the requested help page; returns the exit status."""
    shown = io.StringIO()
    error.show(shown)
    for line in shown.getvalue().split("\n")[:-1]:
        log(line)
    return int(error.exit_code)


def log_failures(batch: "Batch[Any]") -> None:
    """The errors of a batch on stderr, and how many files were left out after them."""
    for failure in batch.failures:
        named = Path(failure.path).name in failure.error or visible(Path(failure.path).name) in failure.error
        log(f"vaekit: {failure.error}" if named else f"vaekit: {failure.path}: {failure.error}")
    if batch.not_started:
        count = len(batch.not_started)
        log(f"vaekit: {count:,} more {'was' if count == 1 else 'were'} not processed.")


def failures_json(batch: "Batch[Any]") -> list[dict[str, str]]:
    """Every file of a batch without a result."""
    return [vars(failure) for failure in (*batch.failures, *batch.not_started)]


def show_results(
    batch: "Batch[FileResult]",
    facts: Mapping[str, Any],
    key: str,
    title: str,
    remarks: Sequence[str],
    out: Path,
    as_json: bool,
    first_cells: Mapping[Path, Mapping[str, str]] | None = None,
) -> None:
    """Print a table, or one JSON object, on stdout, and notes and failures on stderr.

    Args:
        batch: the results.
        facts: the first fields of the JSON object.
        key: of the list of results in it.
        title: of the table.
        remarks: about the run as a whole, for stderr.
        out: the output folder.
        as_json: print JSON.
        first_cells: cells of the table before the others, by the file that was written.

    Raises:
        typer.Exit: 1, if a file could not be processed.
    """
    log_failures(batch)
    for result in batch.results:
        log_notes(result.source, result.notes)
    for remark in remarks:
        log(remark)
    if as_json:
        print_json({**facts, key: [vars(result) for result in batch.results], "failures": failures_json(batch)})
    elif batch.results:
        rows = [{**(first_cells or {}).get(result.output, {}), **result.cells()} for result in batch.results]
        print_table(title, list(rows[0]), [list(row.values()) for row in rows])
        log(f"Written to {out}")
    if not batch.complete:
        raise typer.Exit(1)


@contextmanager
def bytes_moved(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar for bytes on stderr: call the function with the bytes done and the total."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with _transient_progress(*columns) as bar:
        task = bar.add_task(printable(what, 40), total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total or None, visible=True)


@contextmanager
def progress_bar(what: str, before: str = "") -> Iterator[Callable[[int, int], None]]:
    """A progress bar for items on stderr: call the function with the number done and the total.

    Args:
        what: the items. A single one gets no bar.
        before: shown until the first call, such as "loading the VAE".
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with _transient_progress(*columns) as bar:
        task = bar.add_task(before, total=None, visible=bool(before))
        yield lambda done, total: bar.update(task, description=what, completed=done, total=total, visible=total > 1)


@contextmanager
def step_bars(*steps: str, before: str = "") -> Iterator[Sequence[Callable[[int, int], None]]]:
    """Progress bars with rates on stderr, for steps one after the other: call the function of each with the number done
    and the total. The bar of a step disappears when it is done, or when another step begins.

    Args:
        steps: what is done, such as "encoding images".
        before: shown until the first call.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
    )
    with _transient_progress(*columns) as bar:
        first = bar.add_task(before, total=None, visible=bool(before))
        tasks = [bar.add_task(printable(step, 40), start=False, total=None, visible=False) for step in steps]
        begun: set[TaskID] = set()

        def update(current: TaskID, done: int, total: int) -> None:
            if current not in begun:  # times and rates are those of this step
                begun.add(current)
                bar.start_task(current)
                for task in (first, *tasks):
                    bar.update(task, visible=task == current)
            bar.update(current, completed=done, total=total, visible=1 < total != done)

        yield [partial(update, task) for task in tasks]


class RateColumn(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.1f}/s" if task.speed else "", "progress.data.speed")


def _transient_progress(*columns: ProgressColumn) -> Progress:
    """A progress bar on stderr that is removed at the end; none if stderr is a file or a pipe."""
    errors = Console(stderr=True)
    return Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal)


@contextmanager
def spinner(what: str) -> Iterator[None]:
    """A spinner on stderr; nothing if stderr is a file or a pipe."""
    errors = Console(stderr=True)
    if not errors.is_terminal:
        yield
        return
    with errors.status(what, spinner="dots"):
        yield

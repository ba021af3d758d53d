"""What `reconstruct`, `encode` and `decode` print about the files that they processed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vaekit.cli.output import failures_json, log, log_failures, log_notes, print_json, print_table

if TYPE_CHECKING:
    from vaekit.domains.files import FileResult
    from vaekit.tasks.batch import Batch


def show_results(
    batch: "Batch[FileResult]",
    facts: Mapping[str, Any],
    key: str,
    title: str,
    remarks: Sequence[str],
    out: Path,
    as_json: bool,
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
        rows = [result.cells() for result in batch.results]
        print_table(title, list(rows[0]), [list(row.values()) for row in rows])
        log(f"Written to {out}")
    if not batch.complete:
        raise typer.Exit(1)

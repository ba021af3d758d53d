"""Write CSV files."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from vaekit.atomic import atomic_file


def write_csv(path: Path, rows: Iterable[Sequence[str]]) -> None:
    """Write rows of text, the first of which is the header.

    Raises:
        CannotWrite: the disk is full, or the like.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    with atomic_file(path) as part:
        part.write_text(text.getvalue(), "utf-8")

"""The form of CSV: delimiters, headers, and what counts as a row."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from vaekit.datasets.text_blocks import first_line
from vaekit.errors import NoTrainingData, counted, printable

DELIMITERS = (",", ";", "\t", "|")
EXPECTED = "Expected CSV: a header with the names of the columns, then one row per line."
MAX_COLUMNS = 2**14
LONGEST_FIELD = 2**17
"""Characters of a value, as in Python's csv."""
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
"""A first line that only names the delimiter, as spreadsheets write it."""
CONTROL = re.compile("[\0-\x08\x0e-\x1f]")


def delimiter_of(text: str) -> str:
    """The delimiter that splits the first line into the most columns.

    >>> delimiter_of("a;b,c;d"), delimiter_of("a|b"), delimiter_of("a")
    (';', '|', ',')
    """
    header = first_line(text)
    return max(DELIMITERS, key=lambda delimiter: count_of(header, delimiter))


def count_of(line: str, delimiter: str) -> int:
    """The number of values in a line; 0 if it is not CSV with this delimiter."""
    try:
        return len(next(csv.reader([line], delimiter=delimiter), []))
    except csv.Error:
        return 0


def checked_header(values: Sequence[str], path: Path) -> tuple[str, ...]:
    """The names of the columns.

    Raises:
        NoTrainingData: names are missing or not unique, or all are numbers, so that the file has no header.
    """
    names = tuple(value.strip() for value in values)
    if all(is_number(name) for name in names):
        raise NoTrainingData(
            f"The first line of {path} has numbers only.", EXPECTED, "Add a header with the names of the columns."
        )
    if any(map(CONTROL.search, names)):
        raise NoTrainingData(f"The first line of {path} has control characters.", EXPECTED, "Check the path.")
    return checked_names(names, str(path))


def checked_names(names: Sequence[str], title: str) -> tuple[str, ...]:
    """The names of columns of any table.

    Raises:
        NoTrainingData: there are none or too many, or some are missing or not unique.
    """
    expected = "Expected columns with unique names."
    if not names:
        raise NoTrainingData(f"{title} has no columns.", expected, "Give another table.")
    if len(names) > MAX_COLUMNS:
        raise NoTrainingData(
            f"{title} has {len(names):,} columns.", f"Expected at most {MAX_COLUMNS:,}.", "Select the columns to use."
        )
    if "" in names:
        problem = "columns" if names.count("") > 1 else "a column"
        remedy = "Give every column a unique name; pandas writes the index without one, unless index=False."
        raise NoTrainingData(f"{title} has {problem} without a name.", expected, remedy)
    repeated = next((name for name, count in Counter(names).items() if count > 1), None)
    if repeated is not None:
        raise NoTrainingData(
            f"{title} has two columns named {printable(repr(repeated))}.", expected, "Give every column a unique name."
        )
    return tuple(names)


def is_number(text: str) -> bool:
    """Whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def wrong_count(name: str, count: int, columns: int) -> tuple[str, str, str]:
    """The problem of a row with too few or too many values: found, expected, remedy."""
    return (
        f"{printable(name)} has {counted(count, 'value')}.",
        f"The header has {counted(columns, 'column')}.",
        "",
    )


def nul_character(name: str) -> tuple[str, str, str]:
    """The problem of a row with a NUL character: found, expected, remedy."""
    return f"{printable(name)} contains a NUL character.", "", "Remove it, or save the table again."

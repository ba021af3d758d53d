"""Convert lines of CSV without quotes into columns with pyarrow, which is several times as fast as Python. Its numbers
are correctly rounded, as Python's are, so that the results are the same."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaekit.datasets.cell_texts import LARGEST_EXACT, MISSING
from vaekit.errors import MissingPackage
from vaekit.optional import require

FEWEST = 256
"""Rows from which on it is faster."""
ZERO, NINE = ord("0"), ord("9")


def parsed_columns(
    rows: Sequence[str], delimiter: str, count: int, texts: frozenset[int]
) -> Sequence[NDArray[np.float64] | Sequence[str]] | None:
    """The columns of lines with as many values as there are columns: numbers, converted as by `column_of_texts`, or the
    texts of columns that are likely to hold texts.

    Args:
        rows: lines without quotes.
        delimiter: between values.
        count: the number of columns.
        texts: the indices of columns that are likely to hold texts.

    Returns:
        None if pyarrow is not installed, or other columns than expected may hold texts.
    """
    try:
        arrow, csv = (require(name, "read tables fast", "datasets") for name in ("pyarrow", "pyarrow.csv"))
    except MissingPackage:
        return None
    content = ("\n".join(rows) + "\n").encode("utf-8", "surrogatepass")
    if count == 0 or codes(content, delimiter, count) - texts:
        return None
    names = [str(place) for place in range(count)]
    types = {name: arrow.string() if place in texts else arrow.float64() for place, name in enumerate(names)}
    try:
        table = csv.read_csv(
            arrow.BufferReader(content),
            csv.ReadOptions(use_threads=False, column_names=names, block_size=len(content) + 1),
            csv.ParseOptions(delimiter=delimiter, quote_char=False, ignore_empty_lines=False),
            csv.ConvertOptions(column_types=types, null_values=sorted(MISSING), strings_can_be_null=False),
        )
    except arrow.ArrowException:  # a column of numbers holds text here
        return None
    columns = [
        column.to_pylist() if place in texts else numbers_of(column) for place, column in enumerate(table.columns)
    ]
    complete = [column for column in columns if column is not None]
    return complete if len(complete) == count and table.num_rows == len(rows) else None


def numbers_of(column: Any) -> NDArray[np.float64] | None:
    """A column of numbers; None if it may hold integers that float64 does not represent."""
    numbers = np.array(column.to_numpy(), np.float64)  # a copy, which can be written to
    with np.errstate(invalid="ignore"):
        return None if (np.abs(numbers) >= LARGEST_EXACT).any() else numbers


def codes(content: bytes, delimiter: str, count: int) -> frozenset[int]:
    """The indices of columns with values that begin with zeros before other digits."""
    text = np.frombuffer(b"\n" + content, np.uint8)
    ends = (text == ord(delimiter)) | (text == ord("\n"))
    second = (text[2:] >= ZERO) & (text[2:] <= NINE)
    found = np.flatnonzero(ends[:-2] & (text[1:-1] == ZERO) & second)
    if not len(found):
        return frozenset()
    return frozenset((np.searchsorted(np.flatnonzero(ends), found) % count).tolist())

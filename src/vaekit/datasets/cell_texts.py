"""Cells of a table as text: which are missing, which columns are numbers, and decimal commas."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORDS = ("na", "n/a", "nan", "nat", "null", "none", "<na>", "#n/a")
MISSING = frozenset({"", "?", "NaN", "NaT", *(form for word in WORDS for form in (word, word.upper(), word.title()))})
"""Texts for a missing value."""
LARGEST_EXACT = 2**53
"""Integers above it are not exact in float64."""
LONGEST_INTEGER = 308
"""Digits of integers that are finite as float64."""
DECIMAL_COMMA = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?", re.ASCII)
"""Numbers with a decimal comma, and perhaps points between thousands."""


def cell_text(value: Any) -> str:
    """A number or text of a column as text; empty for a missing one.

    >>> [cell_text(value) for value in (3.0, 0.25, float("nan"), "red", None)]
    ['3', '0.25', '', 'red', '']
    """
    if value is None or value != value:
        return ""
    return value if isinstance(value, str) else number_text(value)


def number_text(value: float) -> str:
    """The shortest exact text of a number; integers without a decimal point.

    >>> number_text(3.0), number_text(1e300), number_text(2**60)
    ('3', '1e+300', '1152921504606846976')
    """
    if isinstance(value, int):
        return str(value)
    return str(int(value)) if abs(value) < LARGEST_EXACT and value == int(value) else repr(float(value))


def column_of_texts(texts: Sequence[str]) -> NDArray[Any]:
    """The cells of a column: numbers as float64, with NaN for missing ones, if all are numbers that float64 represents
    in a way that the text follows from it; otherwise an array of texts, with None for missing ones.

    Numbers with leading zeros are texts, as they are codes, and so are integers that float64 would round.

    >>> column_of_texts(["1", "NA", "2.50"]).tolist(), column_of_texts(["007", "", "12"]).tolist()
    ([1.0, nan, 2.5], ['007', None, '12'])
    """
    numbers = parsed(texts)
    if numbers is None:
        array = np.empty(len(texts), object)
        array[:] = [None if text in MISSING else text for text in texts]
        return array
    return numbers


def parsed(texts: Sequence[str]) -> NDArray[np.float64] | None:
    """Texts as numbers, if all are; see `column_of_texts`."""
    try:
        numbers = np.fromiter(map(float, texts), np.float64, len(texts))
    except ValueError:
        try:
            filled = ["nan" if text in MISSING or text.strip() in MISSING else text for text in texts]
            numbers = np.fromiter(map(float, filled), np.float64, len(texts))
        except ValueError:
            return None
    return None if any(map(is_code, texts)) or not all_exact(numbers, texts) else numbers


def is_code(text: str) -> bool:
    """Whether a text that Python reads as a number is a code with leading zeros, or has underscores."""
    return (text[:1] == "0" and text[1:2].isdigit()) or "_" in text


def all_exact(numbers: NDArray[np.float64], texts: Sequence[str]) -> bool:
    """Whether all texts of integers are exact as float64."""
    large = np.flatnonzero(np.abs(numbers) >= LARGEST_EXACT).tolist()
    return all(is_exact(float(numbers[place]), texts[place].strip()) for place in large)


def is_exact(number: float, text: str) -> bool:
    """Whether a number equals its text, if that is an integer."""
    digits = text.lstrip("+-")
    return not digits.isdecimal() or (len(digits) <= LONGEST_INTEGER and int(digits) == int(abs(number)))


def with_points(texts: Sequence[str]) -> list[str] | None:
    """Texts of numbers with decimal commas, with points instead; None if some are no such numbers, or none has a comma.

    >>> with_points(["-1.234,5", "NA", "3,14", "7"]), with_points(["1.5", "2,5"]), with_points(["1", "2"])
    (['-1234.5', 'NA', '3.14', '7'], None, None)
    """
    fits = any("," in text for text in texts) and all(may_have_comma(text.strip()) for text in texts)
    return [with_point(text) for text in texts] if fits else None


def may_have_comma(text: str) -> bool:
    """Whether a text is missing, or a number as it is written with decimal commas."""
    return text in MISSING or DECIMAL_COMMA.fullmatch(text) is not None


def with_point(text: str) -> str:
    """A number with a point instead of the decimal comma; other texts stay."""
    return text.replace(".", "").replace(",", ".") if DECIMAL_COMMA.fullmatch(text.strip()) else text

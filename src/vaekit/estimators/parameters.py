"""Check the parameters of estimators, which scikit-learn does not do before `fit`."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from vaekit.errors import printable
from vaekit.estimators.table_input import InvalidInput

Value = TypeVar("Value")
WHOLE, NUMBER = (int, np.integer), (int, float, np.integer, np.floating)


def whole(name: str, value: Any, most: int | None = None) -> int:
    """A whole number of at least 1, and at most `most`.

    Raises:
        InvalidInput: it is something else.
    """
    if not isinstance(value, WHOLE) or isinstance(value, bool) or value < 1 or value > (most or value):
        raise invalid(name, value, "a whole number of at least 1" + ("" if most is None else f", at most {most:,}"))
    return int(value)


def positive(name: str, value: Any, most: float = math.inf) -> float:
    """A finite number above 0, and at most `most`.

    Raises:
        InvalidInput: it is something else.
    """
    if not isinstance(value, NUMBER) or isinstance(value, bool) or not 0 < value <= most or value == math.inf:
        raise invalid(name, value, "a number above 0" + ("" if most == math.inf else f", at most {most:g}"))
    return float(value)


def text(name: str, value: Any) -> str:
    """A text.

    Raises:
        InvalidInput: it is something else.
    """
    if not isinstance(value, str):
        raise invalid(name, value, "a text")
    return value


def texts(name: str, value: Any) -> tuple[str, ...]:
    """A list of texts.

    Raises:
        InvalidInput: it is something else.
    """
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise invalid(name, value, "a list of texts")
    return tuple(text(name, each) for each in value)


def wholes(name: str, value: Any) -> tuple[int, ...]:
    """A list of whole numbers of at least 1.

    Raises:
        InvalidInput: it is something else.
    """
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise invalid(name, value, "a list of whole numbers")
    return tuple(whole(name, each) for each in value)


def text_by_name(name: str, value: Any) -> dict[str, str]:
    """A dict of texts.

    Raises:
        InvalidInput: it is something else.
    """
    if not isinstance(value, Mapping) or not all(isinstance(each, str) for pair in value.items() for each in pair):
        raise invalid(name, value, 'a dict of texts, such as {"amount": "positive"}')
    return dict(value)


def invalid(name: str, value: Any, expected: str) -> InvalidInput:
    """The error for a parameter."""
    return InvalidInput(f"The parameter {name} is {printable(repr(value))}.", f"Expected {expected}.", "")

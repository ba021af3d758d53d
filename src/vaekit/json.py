"""Strict JSON of results, with non-finite values.

JSON has no infinity and no NaN. They are written as the strings "Infinity", "-Infinity" and "NaN", as in the JSON of
protocol buffers; Python's `float()` and JavaScript's `Number()` read them back.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from numbers import Integral, Real
from typing import Any, Protocol, runtime_checkable

LONE_SURROGATE = re.compile("[\ud800-\udfff]")
"""What Python makes of bytes of a file name that are not UTF-8."""


@runtime_checkable
class Array(Protocol):
    """An array of NumPy or torch, of any number of axes, or a scalar of theirs."""

    def tolist(self) -> Any:
        """The values as plain Python values, in lists for each axis."""
        ...


def dumps(value: Any, indent: int | None = 2) -> str:
    """A value as strict JSON that can be written in UTF-8, see `plain`; on one line where `indent` is None."""
    return json.dumps(plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:
    """A value as JSON's own types: dataclasses and mappings as objects; sequences, sets and arrays as lists; what JSON
    has no type for as its text.

    >>> plain({"psnr": float("inf"), "sizes": (1, 2.5)})
    {'psnr': 'Infinity', 'sizes': [1, 2.5]}
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return encodable(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {encodable(str(key)): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, set | frozenset):
        return [plain(inner) for inner in sorted(value, key=str)]
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return number(float(value))
    if isinstance(value, Array):
        return plain(value.tolist())
    return encodable(str(value))


def number(value: float) -> float | str:
    """A float as JSON holds it.

    >>> number(-math.inf)
    '-Infinity'
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def encodable(text: str) -> str:
    """A text as it can be written in UTF-8: each byte of a file name that is not UTF-8 becomes the replacement sign.

    >>> encodable("caf\\udce9")
    'caf\ufffd'
    """
    return LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)

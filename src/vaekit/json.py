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

from vaekit.errors import CONTROL

NOT_ASCII_CONTROL = re.compile(f"(?![\0-\x1f]){CONTROL.pattern}")
"""Of `vaekit.errors.CONTROL` those that JSON does not escape anyway; line breaks are between its values."""
NOT_ASCII = re.compile("[^\0-\x7f]")
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
"""How Python decodes bytes of a file name that are not UTF-8."""


@runtime_checkable
class Array(Protocol):
    """A NumPy or torch array with any number of axes, or a NumPy scalar."""

    def tolist(self) -> Any:
        """The values as nested lists of Python scalars."""
        ...


def dumps(value: Any, indent: int | None = 2) -> str:
    """Serialize a value as strict, UTF-8 encodable JSON, see `plain`; on one line if `indent` is None.

    Control characters, and others that change how a terminal shows text, are escaped: JSON requires that only for some
    of them.
    """
    return dumps_plain(plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def dumps_plain(value: Any, **options: Any) -> str:
    """`json.dumps` with control characters escaped as by `dumps`."""
    return NOT_ASCII_CONTROL.sub(_escaped, json.dumps(value, **options))


def in_ascii(text: str) -> str:
    """Serialized JSON with all characters beyond ASCII escaped."""
    return NOT_ASCII.sub(_escaped, text)


def _escaped(match: "re.Match[str]") -> str:
    """A character as an escape sequence of JSON; one beyond the basic plane as two."""
    units = match[0].encode("utf-16-be")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def plain(value: Any) -> Any:
    """Convert a value to JSON types: dataclasses and mappings to objects; sequences, sets and arrays to lists; values
    of other types to strings.

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


def json_object(text: str | bytes | None) -> dict[str, Any]:
    """The object in a JSON text; empty if the text holds none, or is damaged."""
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A hook for `json.loads` that rejects duplicate names in an object, which readers resolve differently.

    Raises:
        ValueError: a name occurs twice.
    """
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("a duplicate name")
    return result


def number(value: float) -> float | str:
    """A float, or a string if it is non-finite.

    >>> number(-math.inf)
    '-Infinity'
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def encodable(text: str) -> str:
    """Replace lone surrogates (bytes of a file name that are not UTF-8), which UTF-8 cannot encode.

    >>> encodable("caf\\udce9")
    'caf\ufffd'
    """
    return LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)

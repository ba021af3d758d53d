"""A report as JSON."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from numbers import Integral, Real
from typing import Any

from vaekit.comparison.records import Report

LONE_SURROGATE = re.compile("[\ud800-\udfff]")
"""What Python decodes bytes that are not UTF-8 to; UTF-8 cannot encode it."""


def as_plain(report: Report, shown: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """The report in JSON's own types: the fields of `Report` under their names, and `shown`, the facts about images
    on the page.

    What JSON has no number for is a string, as in the JSON of protocol buffers: "Infinity" (the PSNR of equal
    images), "-Infinity", "NaN". Python's `float()` and JavaScript's `Number()` read them.
    """
    return {**plain(report), "shown": plain(shown)}


def to_json(value: Mapping[str, Any]) -> str:
    """Strict JSON, indented, in UTF-8 letters."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """A record or value in JSON's own types; what JSON does not know becomes its text.

    >>> plain({"psnr": float("inf"), "sizes": (1, 2.5)})
    {'psnr': 'Infinity', 'sizes': [1, 2.5]}
    """
    if value is None or isinstance(value, bool):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {encodable(str(key)): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in (sorted(value, key=str) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return _number(float(value))
    return encodable(str(value))


def _number(value: float) -> float | str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def encodable(text: str) -> str:
    """A text that UTF-8 can encode: each lone surrogate becomes the replacement character.

    >>> encodable("caf\\udce9")
    'caf\ufffd'
    """
    return LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)

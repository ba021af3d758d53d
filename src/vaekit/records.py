"""Plain values, as in JSON and TOML: convert them to records, and compare them."""

import dataclasses
import json
import re
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from vaekit.errors import counted, printable

MAX_ENTRIES = 2**14
"""The maximum number of entries of a list in a record from a file."""
MAX_NUMBER = 2**40
"""The largest magnitude of a number in a record from a file."""
PlainMapping = Mapping[str, Any]
Record = TypeVar("Record")


def from_dict(record_type: type[Record], values: object) -> Record:
    """Construct a dataclass from a mapping of its fields.

    Raises:
        ValueError: a field is missing, unknown, or of another type.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{printable(repr(values), 60)} is not a table")
    hints = typing.get_type_hints(record_type)
    fields = {each.name: each for each in dataclasses.fields(record_type) if each.init}  # type: ignore[arg-type]
    unknown = values.keys() - fields.keys()
    if unknown:
        raise ValueError(f"unknown key {printable(min(unknown))!r}; expected one of: {', '.join(fields) or 'none'}")
    needed = {name for name, each in fields.items() if each.default is each.default_factory is dataclasses.MISSING}
    missing = needed - values.keys()
    if missing:
        raise ValueError(f"{min(missing)!r} is missing")
    return record_type(**{name: parse_value(name, value, hints[name]) for name, value in values.items()})


def parse_value(name: str, value: object, wanted: Any) -> Any:
    """Convert a value to the type of a field.

    Raises:
        ValueError: the value is of another type, or too large.
    """
    if wanted is Any:
        return value
    choices = typing.get_args(wanted)
    if type(None) in choices:
        others = [each for each in choices if each is not type(None)]
        return None if value is None else parse_value(name, value, others[0])
    if typing.get_origin(wanted) is Mapping:
        if not isinstance(value, Mapping):
            raise ValueError(f"{name} is {printable(repr(value), 60)} instead of a table")
        return value
    if typing.get_origin(wanted) in (tuple, Sequence):
        if not isinstance(value, (list, tuple)) or len(value) > MAX_ENTRIES:
            raise ValueError(f"{name} is {printable(repr(value), 60)} instead of a list")
        fixed = typing.get_origin(wanted) is tuple and Ellipsis not in choices
        each_wanted = choices if fixed else (choices[0],) * len(value)
        if len(each_wanted) != len(value):
            raise ValueError(f"{name} is {printable(repr(value), 60)} instead of {counted(len(each_wanted), 'value')}")
        return tuple(parse_value(name, each, each_type) for each, each_type in zip(value, each_wanted, strict=True))
    valid = type(value) in ((int, float) if wanted is float else (wanted,))
    if not valid or (isinstance(value, (int, float)) and not abs(value) <= MAX_NUMBER):
        raise ValueError(f"{name} is {printable(repr(value), 60)} instead of {getattr(wanted, '__name__', wanted)}")
    return float(value) if wanted is float and isinstance(value, (int, float)) else value


def as_toml(table: PlainMapping, inside: str = "") -> str:
    """Serialize a table as TOML: values first, then nested tables. None is omitted, as TOML has no null.

    >>> print(as_toml({"seed": 0, "schedule": {"samples": 100, "averages": [0.9, 0.99]}}))
    seed = 0
    <BLANKLINE>
    [schedule]
    samples = 100
    averages = [0.9, 0.99]
    """
    values = {name: value for name, value in table.items() if not isinstance(value, Mapping) and value is not None}
    lines = [f"{toml_key(name)} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    blocks = ["\n".join([*([f"[{inside}]"] if inside and lines else []), *lines])] if lines else []
    for name, value in table.items():
        if isinstance(value, Mapping):
            blocks.append(as_toml(value, f"{inside}.{toml_key(name)}" if inside else toml_key(name)))
    return "\n\n".join(block for block in blocks if block)


def toml_key(name: str) -> str:
    """A key, quoted if TOML requires it."""
    return name if re.fullmatch("[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)


def renamed(table: PlainMapping, names: Mapping[str, str]) -> dict[str, Any]:
    """Rename keys of a table and of nested tables.

    >>> renamed({"net": {"picture_size": 8}}, {"picture_size": "image_size"})
    {'net': {'image_size': 8}}
    """
    return {
        names.get(name, name): renamed(value, names) if isinstance(value, Mapping) else value
        for name, value in table.items()
    }


def differences(before: PlainMapping, now: PlainMapping, inside: str = "") -> list[str]:
    """The differences between two tables, one line per value.

    >>> differences({"seed": 0, "run": {"dtype": "fp32"}}, {"seed": 0, "run": {"dtype": "bf16"}})
    ["run.dtype was 'fp32' and is 'bf16'"]
    """
    lines: list[str] = []
    for name in dict.fromkeys([*before, *now]):
        old, new = before.get(name), now.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += differences(old, new, f"{inside}{name}.")
        elif old != new:
            texts = [printable(repr(value), 80) if value is not None else "absent" for value in (old, new)]
            lines.append(f"{inside}{printable(name, 40)} was {texts[0]} and is {texts[1]}")
    return lines

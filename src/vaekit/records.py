"""Plain values, as JSON and TOML tell them: records made of them, and what two of them differ in."""

import dataclasses
import json
import re
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from vaekit.errors import printable

MAX_ENTRIES = 64
"""Entries of a list at most, in a record from a file."""
MAX_NUMBER = 2**40
"""No number in a record from a file is larger."""
PlainMapping = Mapping[str, Any]
Record = TypeVar("Record")


def from_dict(kind: type[Record], words: object) -> Record:
    """A dataclass from its fields as words tell them.

    Raises:
        ValueError: a field is missing, unknown, or of another type.
    """
    if not isinstance(words, Mapping):
        raise ValueError(f"{printable(repr(words), 60)} is no table")
    hints = typing.get_type_hints(kind)
    fields = {each.name: each for each in dataclasses.fields(kind) if each.init}  # type: ignore[arg-type]
    unknown = words.keys() - fields.keys()
    if unknown:
        raise ValueError(f"there is no {printable(min(unknown))!r}, but {', '.join(fields) or 'nothing to set'}")
    needed = {name for name, each in fields.items() if each.default is each.default_factory is dataclasses.MISSING}
    missing = needed - words.keys()
    if missing:
        raise ValueError(f"{min(missing)!r} is not told")
    return kind(**{name: parse_value(name, value, hints[name]) for name, value in words.items()})


def parse_value(name: str, value: object, wanted: Any) -> Any:
    """A value of a field, in the type that it has there.

    Raises:
        ValueError: it is of another type, or too large.
    """
    if wanted is Any:
        return value
    choices = typing.get_args(wanted)
    if type(None) in choices:
        others = [each for each in choices if each is not type(None)]
        return None if value is None else parse_value(name, value, others[0])
    if typing.get_origin(wanted) in (tuple, Sequence):
        if not isinstance(value, (list, tuple)) or len(value) > MAX_ENTRIES:
            raise ValueError(f"{name} is {printable(repr(value), 60)} and no list")
        fixed = typing.get_origin(wanted) is tuple and Ellipsis not in choices
        each_wanted = choices if fixed else (choices[0],) * len(value)
        if len(each_wanted) != len(value):
            raise ValueError(f"{name} is {printable(repr(value), 60)} and not {len(each_wanted)} values")
        return tuple(parse_value(name, each, kind) for each, kind in zip(value, each_wanted, strict=True))
    sound = type(value) in ((int, float) if wanted is float else (wanted,))
    if not sound or (isinstance(value, (int, float)) and not abs(value) <= MAX_NUMBER):
        raise ValueError(f"{name} is {printable(repr(value), 60)} and no {getattr(wanted, '__name__', wanted)}")
    return float(value) if wanted is float and isinstance(value, (int, float)) else value


def as_toml(words: PlainMapping, inside: str = "") -> str:
    """A table as TOML: values first, then the tables in it. What is null is left out, as TOML has no word for it.

    >>> print(as_toml({"seed": 0, "schedule": {"samples": 100, "averages": [0.9, 0.99]}}))
    seed = 0
    <BLANKLINE>
    [schedule]
    samples = 100
    averages = [0.9, 0.99]
    """
    values = {name: value for name, value in words.items() if not isinstance(value, Mapping) and value is not None}
    lines = [f"{toml_key(name)} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    blocks = ["\n".join([*([f"[{inside}]"] if inside and lines else []), *lines])] if lines else []
    for name, value in words.items():
        if isinstance(value, Mapping):
            blocks.append(as_toml(value, f"{inside}.{toml_key(name)}" if inside else toml_key(name)))
    return "\n\n".join(block for block in blocks if block)


def toml_key(name: str) -> str:
    """A key as TOML takes it."""
    return name if re.fullmatch("[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)


def renamed(words: PlainMapping, names: Mapping[str, str]) -> dict[str, Any]:
    """A table with other names for some entries, in the tables inside it too.

    >>> renamed({"net": {"picture_size": 8}}, {"picture_size": "image_size"})
    {'net': {'image_size': 8}}
    """
    return {
        names.get(name, name): renamed(value, names) if isinstance(value, Mapping) else value
        for name, value in words.items()
    }


def differences(before: PlainMapping, now: PlainMapping, inside: str = "") -> list[str]:
    """What is not the same in two objects as they are written: one line for each value.

    >>> differences({"seed": 0, "run": {"dtype": "fp32"}}, {"seed": 0, "run": {"dtype": "bf16"}})
    ["run.dtype was 'fp32' and is 'bf16'"]
    """
    found: list[str] = []
    for name in dict.fromkeys([*before, *now]):
        old, new = before.get(name), now.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, f"{inside}{name}.")
        elif old != new:
            words = [printable(repr(value), 80) if value is not None else "absent" for value in (old, new)]
            found.append(f"{inside}{printable(name, 40)} was {words[0]} and is {words[1]}")
    return found

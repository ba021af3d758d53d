"""The items that a VAE takes, as its file states them: their domain, and the schema of the data that it was trained on.

The domain interprets a schema; here it is plain JSON.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from vaekit.errors import printable
from vaekit.identification.metadata import read_domain

IMAGES = "images"
"""The domain of a file that states none, such as that of another program."""
IMAGE_AXES = 2
LONGEST = 300
"""Characters of a schema or of one value."""
MOST_RECORDS = 100
DATES = ("center", "low", "high")
"""The entries of a column of dates that are seconds since 1970."""
MOST_VALUES = 8
DEEPEST = 4
"""Levels of a schema that are compared one by one; files of vaekit have three."""


class StatedItems(NamedTuple):
    """The items of a VAE, as its file states them."""

    domain: str | None
    """None if the file states none and the VAE takes no images."""
    schema: dict[str, Any]
    """As plain values; empty if there is none."""


def items_of(metadata: Mapping[str, str], axes: int) -> StatedItems:
    """The items of a VAE.

    Args:
        metadata: of its file.
        axes: of its items.
    """
    domain, schema = read_domain(metadata)
    return StatedItems(printable(domain, LONGEST) or (IMAGES if axes == IMAGE_AXES else None), schema)


def schema_text(schema: Mapping[str, Any]) -> str:
    """A schema on one line.

    >>> schema_text({"columns": [{"name": "age", "mean": 40.0}, {"name": "smoker"}]})
    '2 columns: age, smoker'
    >>> schema_text({"unit": "characters", "tokens": ["a", "b", "c"], "length": 64, "lowercase": True, "column": ""})
    'unit characters, 3 tokens, length 64, lowercase'
    """
    entries = ((str(name), value) for name, value in schema.items() if value is not None and value != "")
    return printable(", ".join(entry_text(name, value) for name, value in entries), LONGEST)


def entry_text(name: str, value: Any) -> str:
    """One entry of a schema: the names of a list of records, the length of another list, or the value."""
    if isinstance(value, bool):
        return name if value else f"no {name}"
    if not isinstance(value, (list, dict)):
        return f"{name} {record_value(value)}"
    names = [str(each["name"]) for each in value if isinstance(each, dict) and "name" in each]
    return f"{len(value):,} {name}" + (f": {', '.join(names)}" if names else "")


def schema_records(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """The records of a schema, such as the columns of a table, one line each; not more than `MOST_RECORDS`.

    >>> schema_records({"columns": [{"name": "age", "kind": "real", "center": 40.0}, {"name": "id"}]})
    ('age: real, center 40', 'id')
    """
    lists = [value for value in schema.values() if isinstance(value, list)]
    records = [each for value in lists for each in value if isinstance(each, dict) and "name" in each]
    lines = tuple(record_text(each) for each in records[:MOST_RECORDS])
    return (*lines, f"and {len(records) - MOST_RECORDS:,} more") if len(records) > MOST_RECORDS else lines


def record_text(record: Mapping[str, Any]) -> str:
    """A record on one line: its name and kind, then the other entries."""
    dated = record.get("kind") == "date"
    others = (
        f"{key} {date_value(value) if dated and key in DATES else record_value(value)}"
        for key, value in record.items()
        if key not in ("name", "kind")
    )
    kind = (record_value(record["kind"]),) if "kind" in record else ()
    return printable(f"{record['name']}: {', '.join((*kind, *others))}".removesuffix(": "), LONGEST)


def date_value(value: Any) -> str:
    """Seconds since 1970 as a date.

    >>> date_value(1704067200.0), date_value(1e300)
    ('2024-01-01', '1e+300')
    """
    try:
        text = (datetime(1970, 1, 1) + timedelta(seconds=value)).isoformat(timespec="seconds")
    except (OverflowError, ValueError, TypeError):
        return record_value(value)
    return text.removesuffix("T00:00:00")


def record_value(value: Any) -> str:
    """A value of a record: numbers with six digits, lists with their first entries."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        more = " ..." if len(value) > MOST_VALUES else ""
        return " ".join(map(str, value[:MOST_VALUES])) + more
    return str(value)


def schema_differences(one: StatedItems, other: StatedItems) -> tuple[str, ...]:
    """The entries of two schemas that differ, with both values. Empty if one is empty, since nothing contradicts it, or
    if the domains differ: their schemas have nothing in common.

    >>> age, years = (StatedItems("tables", {"columns": [{"name": name}]}) for name in ("age", "years"))
    >>> schema_differences(age, years)
    ("columns[0].name: 'age' and 'years'",)
    """
    comparable = one.domain == other.domain and one.schema and other.schema
    return tuple(differences(one.schema, other.schema)) if comparable else ()


def differences(one: Any, other: Any, where: str = "", depth: int = 0) -> Iterator[str]:
    """The differences between two plain values; `where` is the path to them."""
    if depth < DEEPEST and isinstance(one, dict) and isinstance(other, dict):
        for name in dict.fromkeys((*one, *other)):
            inner = f"{where}.{name}" if where else name
            yield from differences(one.get(name), other.get(name), inner, depth + 1)
    elif depth < DEEPEST and isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            yield f"{printable(where, LONGEST)}: {len(one):,} and {len(other):,} entries"
        for place, (mine, theirs) in enumerate(zip(one, other, strict=False)):
            yield from differences(mine, theirs, f"{where}[{place}]", depth + 1)
    elif value_text(one) != value_text(other):
        yield f"{printable(where, LONGEST)}: {' and '.join(printable(value_text(each), 60) for each in (one, other))}"


def value_text(value: Any) -> str:
    """A value for messages."""
    try:
        return "nothing" if value is None else repr(value)
    except RecursionError:
        return "an entry of too many levels"

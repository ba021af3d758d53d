"""Texts for clients: without the paths of this machine, which errors and inspections contain."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ABSOLUTE_PATH = re.compile(r"(?<![\w.:/~])(?:~|[A-Za-z]:)?(?:[/\\][^/\\\s'\",;:()]+)*[/\\]([^/\\\s'\",;:()]+)")
"""An absolute path without spaces; its group is the last part."""


def without_paths(text: str, *known: Path) -> str:
    """A text with the last part of each absolute path in place of the path.

    Args:
        text: such as the message of an error.
        known: paths that the text may contain, and that may have spaces in them.

    >>> without_paths("/home/me/vaes/sd1.pt is damaged: see /tmp/x/y.png.")
    'sd1.pt is damaged: see y.png.'
    >>> without_paths("2.5 of 3/4, and/or https://example.org/a/b")
    '2.5 of 3/4, and/or https://example.org/a/b'
    """
    for path in sorted(known, key=lambda each: -len(str(each))):
        if path.is_absolute():
            text = text.replace(str(path), path.name)
    return ABSOLUTE_PATH.sub(r"\1", text)


def public(value: Any, *known: Path) -> Any:
    """A value of JSON types, with each text as by `without_paths`."""
    if isinstance(value, str):
        return without_paths(value, *known)
    if isinstance(value, Mapping):
        return {without_paths(str(key), *known): public(inner, *known) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [public(inner, *known) for inner in value]
    return value

"""HTML that cannot be broken by what is in it: text is escaped where it enters, and only once."""

import re
from html import escape
from typing import Any

LONE_SURROGATE = re.compile("[\ud800-\udfff]")
"""What Python makes of bytes that are not UTF-8."""


class Markup(str):
    """Text that is HTML already. Whatever is not of this class is escaped."""

    __slots__ = ()


VOID = frozenset({"br", "circle", "img", "input", "line", "meta", "path", "rect"})
"""Elements that have no content; those of SVG are closed the same way."""


def tag(name: str, *children: Any, **attributes: Any) -> Markup:
    """One element. Attributes lose a trailing underscore, other underscores become hyphens.

    An attribute that is None or False is left out, one that is True stands without a value.

    >>> tag("b", "1 < 2 & ", tag("i", "so on"), class_="odd", data_name='"', hidden=True, title=None)
    '<b class="odd" data-name="&quot;" hidden>1 &lt; 2 &amp; <i>so on</i></b>'
    """
    words = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in VOID:
        return Markup(f"<{name}{words}/>")
    return Markup(f"<{name}{words}>{joined(*children)}</{name}>")


def joined(*children: Any) -> Markup:
    """Several pieces one after another; None is nothing, a list is its members."""
    return Markup("".join(_escaped(child) for child in children))


def foreign(name: str) -> Markup:
    """A name that somebody else chose: on a line of its own direction, so that it turns no other text around."""
    return tag("bdi", encodable(name))


def encodable(text: str) -> str:
    """A text as it can be written in UTF-8: each byte of a file name that is not UTF-8 becomes the replacement sign.

    >>> encodable("caf\\udce9")
    'caf\ufffd'
    """
    return LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


def _escaped(child: Any) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, list | tuple):
        return joined(*child)
    return escape(encodable(str(child)), quote=False)


def _attribute(key: str, value: Any) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(encodable(str(value)))}"'

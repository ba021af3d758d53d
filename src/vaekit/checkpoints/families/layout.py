"""Naming schemes of tensors, as reversible tables.

A layout maps every native key to one foreign key and back; nothing is lost or invented. Templates name the parts that
vary: `{i}` and `{j}` are numbers, `{~i}` is the number of a decoder level counted from the other end, `{-i}` is one
less, `{p}` is `weight` or `bias`. Native keys are the attribute names of `vaekit.nets`. The tables themselves
stand with their families.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property

HALVES = ("encoder", "decoder")
PLACEHOLDER = re.compile(r"(\{[~-]?\w\})")
NUMBER = "0|[1-9][0-9]{0,2}"
"""One way to write each number, so that names translate back; no model has a thousand levels."""
PATTERNS = {
    "{i}": f"(?P<i>{NUMBER})",
    "{j}": f"(?P<j>{NUMBER})",
    "{~i}": f"(?P<reversed>{NUMBER})",
    "{-i}": f"(?P<less>{NUMBER})",
    "{p}": "(?P<p>weight|bias)",
}
Rules = tuple[tuple[str, str], ...]
Table = list[tuple[re.Pattern[str], str]]


@dataclass(frozen=True)
class Layout:
    """One naming scheme of one family: pairs of a native template and a foreign one for the same tensors."""

    name: str
    family: str
    rules: Rules
    has: tuple[str, ...] = ()
    """Foreign keys that a file in this layout always has; only needed where the templates alone say little."""
    lacks: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    """Foreign keys that stand beside the weights and say nothing of the autoencoder."""
    any_prefix: bool = True
    """Whether the keys are telling enough to be recognised behind a prefix that nobody announced."""

    @property
    def half(self) -> str:
        """The half that files in this layout hold, "encoder" or "decoder"; empty where they may hold both."""
        return next((half for half in HALVES if self.name.endswith("-" + half)), "")

    def to_native(self, foreign: str, levels: int) -> str | None:
        """The native key for a foreign one, in a model with so many decoder levels; None if there is none."""
        return translate(foreign, self._by_foreign, levels)

    def from_native(self, native: str, levels: int) -> str | None:
        """The foreign key for a native one: the inverse of `to_native`."""
        return translate(native, self._by_native, levels)

    def prefixes(self, keys: Collection[str]) -> dict[str, int]:
        """Each prefix behind which keys of this layout stand, and how many stand there."""
        found: dict[str, int] = {}
        if any(key not in keys for key in self.has) or any(key in keys for key in self.lacks):
            return found
        for key in keys:
            match = self._anywhere.fullmatch(key)
            if match and (self.any_prefix or not match["prefix"]):
                found[match["prefix"]] = found.get(match["prefix"], 0) + 1
        return found

    def levels(self, foreign: Iterable[str]) -> int:
        """How many decoder levels these foreign keys speak of; 1 where none is numbered."""
        return count_levels(foreign, [source for source, _ in self._by_foreign], "reversed")

    def native_levels(self, native: Iterable[str]) -> int:
        """How many decoder levels these native keys speak of, as far as this layout renumbers them."""
        return count_levels(native, [source for source, target in self._by_native if "{~i}" in target], "i")

    @cached_property
    def _by_foreign(self) -> Table:
        return [(re.compile(pattern(foreign)), native) for native, foreign in self.rules]

    @cached_property
    def _by_native(self) -> Table:
        return [(re.compile(pattern(native)), foreign) for native, foreign in self.rules]

    @cached_property
    def _anywhere(self) -> re.Pattern[str]:
        nameless = (re.sub(r"\?P<\w+>", "?:", pattern(foreign)) for _, foreign in self.rules)
        return re.compile(rf"(?P<prefix>(?:.*?\.)??)(?:{'|'.join(nameless)})")


def pattern(template: str) -> str:
    """A template as a regular expression with a named group for each placeholder."""
    return "".join(PATTERNS.get(part) or re.escape(part) for part in PLACEHOLDER.split(template))


def translate(key: str, table: Table, levels: int) -> str | None:
    """The key under the other scheme's template, with its numbers recounted where the schemes count differently."""
    for source, target in table:
        match = source.fullmatch(key)
        if match:
            return fill(target, recount(match.groupdict(), levels))
    return None


def fill(template: str, parts: dict[str, str]) -> str | None:
    """The template with its holes filled; None where a number counts below zero: the other scheme has no such place."""
    filled = PLACEHOLDER.sub(lambda hole: parts[hole.group()[1:-1]], template)
    return None if ".-" in filled else filled


def recount(parts: dict[str, str], levels: int) -> dict[str, str]:
    """Add every way of counting `i` to the parts of a matched key."""
    if "reversed" in parts:
        i = levels - 1 - int(parts["reversed"])
    elif "less" in parts:
        i = int(parts["less"]) + 1
    elif "i" in parts:
        i = int(parts["i"])
    else:
        return parts
    return parts | {"i": str(i), "~i": str(levels - 1 - i), "-i": str(i - 1)}


def count_levels(keys: Iterable[str], sources: list[re.Pattern[str]], group: str) -> int:
    numbered = [source for source in sources if group in source.groupindex]
    matches = (source.fullmatch(key) for key in keys for source in numbered)
    return max((int(match[group]) for match in matches if match), default=0) + 1


def product(native: str, foreign: str, leaves: dict[str, str]) -> Rules:
    """One rule for each leaf of a module that has a different path, and leaf names, in either scheme."""
    return tuple((f"{native}.{a}.{{p}}", f"{foreign}.{b}.{{p}}") for a, b in leaves.items())


def same_names(rules: Rules) -> Rules:
    """The identity on the native side of a table."""
    return tuple((native, native) for native, _ in rules)

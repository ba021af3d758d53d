"""Naming schemes of tensors, as reversible tables.

A layout maps every native key to one foreign key and back; nothing is lost or invented. Templates name the parts that
vary: `{i}`, `{j}` and `{k}` are numbers, `{~i}` is the number of a decoder level counted from the other end, `{-i}` is
one less, `{p}` is `weight` or `bias`, `{s}` is a running statistic of a batch norm, `{*}` is anything. Where the layer
at the end of a level is counted with the blocks before it, `{n}` is the place of block `{j}` and `{e}` that of the
layer at the end: in one sequence through all levels, or in one for each level where the template names `{i}` too. A
foreign template may end in `[0/3]`: the tensor is the first of three equal parts of the one that the file holds
(`checkpoints/fused.py`). Native keys are the attribute names of `vaekit.nets`. The tables themselves stand with their
families.
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

HALVES = ("encoder", "decoder")
PLACEHOLDER = re.compile(r"(\{(?:[~-]?\w|\*)\})")
NUMBER = "0|[1-9][0-9]{0,2}"
"""One way to write each number, so that names translate back; no model has a thousand levels."""
PATTERNS = {
    "{i}": f"(?P<i>{NUMBER})",
    "{j}": f"(?P<j>{NUMBER})",
    "{k}": f"(?P<k>{NUMBER})",
    "{~i}": f"(?P<reversed>{NUMBER})",
    "{-i}": f"(?P<less>{NUMBER})",
    "{n}": f"(?P<place>{NUMBER})",
    "{e}": f"(?P<end>{NUMBER})",
    "{p}": "(?P<p>weight|bias)",
    "{s}": "(?P<s>running_mean|running_var|num_batches_tracked)",
    "{*}": "(?P<rest>.+)",
}
PART = re.compile(r"(?P<whole>.+)\[(?P<number>[0-9])/(?P<count>[0-9])\]")
"""A template, or a key, of a tensor that is part of another."""
Rules = tuple[tuple[str, str], ...]
Table = list[tuple[re.Pattern[str], str, str]]
"""Patterns, the templates of the other scheme, and the sequence that the foreign one counts through; "" for none."""


@dataclass(frozen=True)
class Levels:
    """How the levels of a network are counted."""

    count: int
    """Levels of the decoder, for schemes that number them from the other end."""
    lengths: Mapping[str, int] = field(default_factory=dict)
    """Layers of a level, the one at its end included, in each sequence (named by what stands before the number)."""


@dataclass(frozen=True)
class Layout:
    """One naming scheme of one family: pairs of a native template and a foreign one for the same tensors."""

    name: str
    family: str
    rules: Rules
    has: tuple[str, ...] = ()
    """Foreign keys that a file in this layout always has; only needed where the templates alone say little."""
    lacks: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    """What foreign keys begin with whose tensors no network ever reads: dropped, and counted as ignored."""
    any_prefix: bool = True
    """Whether the keys are telling enough to be recognized behind a prefix that nobody announced."""
    tells: dict[str, Any] = field(default_factory=dict, hash=False)
    """Fields of the config that these names go with: a network with other values has other names."""
    matrices: str = ""
    """A pattern of the native keys of 1x1 convolutions that this scheme keeps as matrices."""

    def fits(self, config: Any) -> bool:
        """Whether a network of this config has these names."""
        return all(getattr(config, name) == value for name, value in self.tells.items())

    def is_matrix(self, native: str) -> bool:
        """Whether this scheme keeps the tensor of a native key as a matrix."""
        return re.fullmatch(self.matrices, native) is not None

    @property
    def half(self) -> str:
        """The half that files in this layout hold, "encoder" or "decoder"; empty where they may hold both."""
        return next((half for half in HALVES if self.name.endswith("-" + half)), "")

    def to_native(self, foreign: str, levels: Levels | int) -> str | None:
        """The native key for a foreign one, in a model with such levels, or so many; None if there is none."""
        return translate(foreign, self._by_foreign, levels)

    def from_native(self, native: str, levels: Levels | int) -> str | None:
        """The foreign key for a native one: the inverse of `to_native`."""
        return translate(native, self._by_native, levels)

    def prefixes(self, keys: Collection[str]) -> dict[str, int]:
        """Each prefix behind which keys of this layout stand, and how many stand there."""
        found: dict[str, int] = {}
        if any(key not in keys for key in self.has) or any(key in keys for key in self.lacks):
            return found
        anywhere = self._anywhere("\n".join(keys))
        for key in keys:
            match = anywhere.fullmatch(key)
            if match and (self.any_prefix or not match["prefix"]):
                found[match["prefix"]] = found.get(match["prefix"], 0) + 1
        return found

    def levels(self, foreign: Collection[str]) -> Levels:
        """The levels that these foreign keys speak of; one decoder level where none is numbered."""
        ends, places = (numbers(foreign, self._by_foreign, group) for group in ("end", "place"))
        lengths = {name: math.gcd(*(place + 1 for place in found)) for name, found in ends.items()}
        alone = {name: max(found) + 2 for name, found in places.items() if name not in lengths}
        return Levels(count_levels(foreign, self._by_foreign, "reversed"), lengths | alone)

    def native_levels(self, native: Collection[str]) -> Levels:
        """The levels that these native keys speak of, as far as this layout counts them in another way."""
        renumbered = [rule for rule in self._by_native if "{~i}" in rule[1]]
        blocks = numbers(native, [rule for rule in self._by_native if "{n}" in rule[1]], "j")
        lengths = {name: max(found) + 2 for name, found in blocks.items()}
        return Levels(count_levels(native, renumbered, "i"), lengths)

    @cached_property
    def fused(self) -> tuple[tuple[re.Pattern[str], int], ...]:
        """The foreign keys, behind any prefix, of tensors that hold several native ones; and how many."""
        parts = (PART.fullmatch(foreign) for _, foreign in self.rules)
        wholes = {part["whole"]: int(part["count"]) for part in parts if part}
        return tuple((re.compile(rf"(?:.*\.)?{pattern(whole)}"), count) for whole, count in wholes.items())

    @cached_property
    def _by_foreign(self) -> Table:
        return [(re.compile(pattern(foreign)), native, sequence(foreign)) for native, foreign in self.rules]

    @cached_property
    def _by_native(self) -> Table:
        return [(re.compile(pattern(native)), foreign, sequence(foreign)) for native, foreign in self.rules]

    def _anywhere(self, text: str) -> re.Pattern[str]:
        """Behind any prefix, the foreign keys whose fixed parts all are in a text: to compile others, too, would take
        most of the time."""
        near = (foreign for _, foreign in self.rules if all(part in text for part in fixed_parts(foreign)))
        nameless = (re.sub(r"\?P<\w+>", "?:", pattern(foreign)) for foreign in near)
        return re.compile(rf"(?P<prefix>(?:.*?\.)??)(?:{'|'.join(nameless) or NOTHING})")


NOTHING = "(?!)"
"""A pattern that nothing matches."""


@cache
def fixed_parts(template: str) -> tuple[str, ...]:
    """What stands between the placeholders of a template."""
    return tuple(part for part in PLACEHOLDER.split(template) if part and part not in PATTERNS)


def pattern(template: str) -> str:
    """A template as a regular expression with a named group for each placeholder."""
    return "".join(PATTERNS.get(part) or re.escape(part) for part in PLACEHOLDER.split(template))


def sequence(foreign: str) -> str:
    """What stands before the place in a sequence of layers; "" where the template counts no such places."""
    head, hole, _ = re.split(r"(\{[ne]\}|$)", foreign, maxsplit=1)
    return head if hole else ""


def translate(key: str, table: Table, levels: Levels | int) -> str | None:
    """The key under the other scheme's template, with its numbers recounted where the schemes count differently."""
    counted = Levels(levels) if isinstance(levels, int) else levels
    for source, target, through in table:
        match = source.fullmatch(key)
        if match:
            parts = recount(match.groupdict(), counted.count, counted.lengths.get(through, 1), "{i}" in through)
            return None if parts is None else fill(target, parts)
    return None


def fill(template: str, parts: dict[str, str]) -> str | None:
    """The template with its holes filled; None where a number counts below zero: the other scheme has no such place."""
    filled = PLACEHOLDER.sub(lambda hole: parts[hole.group()[1:-1].replace("*", "rest")], template)
    return None if ".-" in filled else filled


def recount(parts: dict[str, str], levels: int, length: int, by_level: bool) -> dict[str, str] | None:
    """Add every way of counting to the parts of a matched key; None where no level has such a place.

    Args:
        parts: what stood at the placeholders.
        levels: how many there are.
        length: layers of a level in the sequence of the foreign template, the one at its end included.
        by_level: whether that sequence starts again in each level.
    """
    place = int(parts.get("place") or parts.get("end") or 0)
    at_end = place % length == length - 1
    if ("place" in parts and at_end and length > 1) or ("end" in parts and not at_end):
        return None
    if "reversed" in parts:
        i = levels - 1 - int(parts["reversed"])
    elif "less" in parts:
        i = int(parts["less"]) + 1
    elif "i" in parts:
        i = int(parts["i"])
    elif "place" in parts or "end" in parts:
        i = place // length
    else:
        return parts
    j = int(parts.get("j") or place % length)
    start = 0 if by_level else i * length
    counted = {"i": i, "~i": levels - 1 - i, "-i": i - 1, "j": j, "n": start + j, "e": start + length - 1}
    return parts | {name: str(number) for name, number in counted.items()}


def numbers(keys: Iterable[str], table: Table, group: str) -> dict[str, list[int]]:
    """Every number that stands at this group, by the sequence that its template counts through."""
    found: dict[str, list[int]] = {}
    numbered = [(source, through) for source, _, through in table if group in source.groupindex]
    for key in keys:
        for source, through in numbered:
            match = source.fullmatch(key)
            if match:
                found.setdefault(through, []).append(int(match[group]))
    return found


def count_levels(keys: Iterable[str], table: Table, group: str) -> int:
    return max((number for found in numbers(keys, table, group).values() for number in found), default=0) + 1


def leaves(native: str, foreign: str, names: dict[str, str]) -> Rules:
    """One rule for each leaf of a module that has a different path, and leaf templates, in either scheme."""
    return tuple((f"{native}.{a}", f"{foreign}.{b}") for a, b in names.items())


def product(native: str, foreign: str, layers: dict[str, str]) -> Rules:
    """One rule for the weight and bias of each layer of a module."""
    return leaves(native, foreign, {f"{a}.{{p}}": f"{b}.{{p}}" for a, b in layers.items()})


def same_names(rules: Rules) -> Rules:
    """The identity on the native side of a table."""
    return tuple((native, native) for native, _ in rules)

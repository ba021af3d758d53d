"""Naming schemes of tensors, as reversible tables.

A layout maps every native key to one foreign key and back. Templates have placeholders: `{i}`, `{j}` and `{k}` are
numbers, `{~i}` is the number of a decoder level counted from the other end, `{-i}` is one less, `{p}` is `weight` or
`bias`, `{s}` is a running statistic of a batch norm, `{*}` is anything. If the last layer of a level is numbered
together with its blocks, `{n}` is the index of block `{j}` and `{e}` that of the last layer: in one sequence through
all levels, or in one per level if the template also contains `{i}`. If a half is one sequence of a first layer, its
levels and one or two last layers, `{+i}` is the index of level `{i}`, one more, and `{-2}` and `{-1}` are those of the
last layers. A foreign template may end in `[0/3]`: the tensor
is the first of three equal parts of the one in the file (`identification/fused_tensors.py`). Native keys are the
attribute names of the nets. The tables are in the folders of their families.
"""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

HALVES = ("encoder", "decoder")
PLACEHOLDER = re.compile(r"(\{(?:[~+-]?\w|\*)\})")
NUMBER = "0|[1-9][0-9]{0,2}"
"""A canonical number, so that names translate back; no model has a thousand levels."""
FROM_ONE = "[1-9][0-9]{0,2}"
"""The same without zero: an index after the first layer of a sequence."""
PATTERNS = {
    "{i}": f"(?P<i>{NUMBER})",
    "{j}": f"(?P<j>{NUMBER})",
    "{k}": f"(?P<k>{NUMBER})",
    "{~i}": f"(?P<reversed>{NUMBER})",
    "{-i}": f"(?P<less>{NUMBER})",
    "{n}": f"(?P<place>{NUMBER})",
    "{e}": f"(?P<end>{NUMBER})",
    "{+i}": f"(?P<more>{FROM_ONE})",
    "{-2}": f"(?P<before_last>{FROM_ONE})",
    "{-1}": f"(?P<last>{FROM_ONE})",
    "{p}": "(?P<p>weight|bias)",
    "{s}": "(?P<s>running_mean|running_var|num_batches_tracked)",
    "{*}": "(?P<rest>.+)",
}
PART = re.compile(r"(?P<whole>.+)\[(?P<number>[0-9])/(?P<count>[0-9])\]")
"""The template or key of a part of a fused tensor."""
FROM_END = {"before_last": 2, "last": 1}
"""The distances of the last layers from the end of their sequence."""
Rules = tuple[tuple[str, str], ...]
Table = list[tuple[re.Pattern[str], str, str]]
"""Patterns, the templates of the other scheme, and the sequence of the foreign template's index; "" for none."""


@dataclass(frozen=True)
class Levels:
    """The numbers of levels and layers that some schemes need for their indices."""

    count: int
    """The number of decoder levels, for schemes that number them from the other end."""
    lengths: Mapping[str, int] = field(default_factory=dict)
    """Layers per level, including the last one, for each sequence (named by the text before the index)."""


@dataclass(frozen=True)
class Layout:
    """A naming scheme of a family: pairs of native and foreign templates."""

    name: str
    family: str
    rules: Rules
    has: tuple[str, ...] = ()
    """Foreign keys that every file in this layout has; only needed if the templates are not specific."""
    lacks: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    """Prefixes of foreign keys of unused tensors: they are dropped, and counted as ignored."""
    beside: tuple[str, ...] = ()
    """Prefixes of foreign keys that only decide between layouts that know as many others: those of a vocoder, which may
    have more tensors than a larger VAE in the same file."""
    any_prefix: bool = True
    """Whether the keys are specific enough to be recognized behind an arbitrary prefix."""
    implies: dict[str, Any] = field(default_factory=dict, hash=False)
    """Config fields that these names imply: a network with other values has other names."""
    matrices: str = ""
    """A pattern for the native keys of 1x1 convolutions that this scheme stores as matrices."""
    vectors: str = ""
    """A pattern for the native keys of tensors (1, c, 1) that this scheme stores as vectors (c,)."""

    def fits(self, config: Any) -> bool:
        """Whether a network of this config has these names."""
        return all(getattr(config, name) == value for name, value in self.implies.items())

    def is_matrix(self, native: str) -> bool:
        """Whether this scheme stores the tensor of a native key as a matrix."""
        return re.fullmatch(self.matrices, native) is not None

    def is_vector(self, native: str) -> bool:
        """Whether this scheme stores the tensor of a native key as a vector."""
        return re.fullmatch(self.vectors, native) is not None

    @property
    def half(self) -> str:
        """The half that files in this layout hold, "encoder" or "decoder"; empty if they may hold both."""
        return next((half for half in HALVES if self.name.endswith("-" + half)), "")

    def to_native(self, foreign: str, levels: Levels | int) -> str | None:
        """The native key for a foreign one, given the levels of the model or their number; None if there is none."""
        return translate(foreign, self._by_foreign, levels)

    def from_native(self, native: str, levels: Levels | int) -> str | None:
        """The foreign key for a native one: the inverse of `to_native`."""
        return translate(native, self._by_native, levels)

    def prefixes(self, keys: Collection[str]) -> dict[str, int]:
        """The prefixes behind which keys of this layout occur, with the number of keys, without those `beside`."""
        return Counter(
            prefix for prefix, bare in self._found(keys) if not (self.beside and bare.startswith(self.beside))
        )

    def counts_beside(self, keys: Collection[str]) -> dict[str, int]:
        """The same for the keys `beside`."""
        return (
            Counter(prefix for prefix, bare in self._found(keys) if bare.startswith(self.beside)) if self.beside else {}
        )

    def _found(self, keys: Collection[str]) -> Iterator[tuple[str, str]]:
        """The keys of this layout, each as prefix and rest."""
        if any(key not in keys for key in self.has) or any(key in keys for key in self.lacks):
            return
        anywhere = self._anywhere("\n".join(keys))
        for key in keys:
            match = anywhere.fullmatch(key)
            if match and (self.any_prefix or not match["prefix"]):
                yield match["prefix"], key.removeprefix(match["prefix"])

    def levels(self, foreign: Collection[str]) -> Levels:
        """The levels of these foreign keys; one decoder level if none is numbered."""
        ends, places = (numbers(foreign, self._by_foreign, group) for group in ("end", "place"))
        lengths = {name: math.gcd(*(place + 1 for place in values)) for name, values in ends.items()}
        alone = {name: max(values) + 2 for name, values in places.items() if name not in lengths}
        whole: dict[str, int] = {}
        for group in ("more", *FROM_END):
            for name, values in numbers(foreign, self._by_foreign, group).items():
                after = FROM_END.get(group) or 1 + self._last_layers[name]
                whole[name] = max(whole.get(name, 0), max(values) + after)
        return Levels(count_levels(foreign, self._by_foreign, "reversed"), lengths | alone | whole)

    def native_levels(self, native: Collection[str]) -> Levels:
        """The levels of these native keys, as far as this layout numbers them differently."""
        renumbered = [rule for rule in self._by_native if "{~i}" in rule[1]]
        blocks = numbers(native, [rule for rule in self._by_native if "{n}" in rule[1]], "j")
        lengths = {name: max(values) + 2 for name, values in blocks.items()}
        levels = numbers(native, [rule for rule in self._by_native if "{+i}" in rule[1]], "i")
        whole = {name: max(values) + 2 + self._last_layers[name] for name, values in levels.items()}
        return Levels(count_levels(native, renumbered, "i"), lengths | whole)

    @cached_property
    def fused(self) -> tuple[tuple[re.Pattern[str], int], ...]:
        """Patterns for the foreign keys of fused tensors, behind any prefix, with the number of their parts."""
        parts = (PART.fullmatch(foreign) for _, foreign in self.rules)
        wholes = {part["whole"]: int(part["count"]) for part in parts if part}
        return tuple((re.compile(rf"(?:.*\.)?{pattern(whole)}"), count) for whole, count in wholes.items())

    @cached_property
    def _last_layers(self) -> dict[str, int]:
        """The number of layers after the levels, for each sequence with `{+i}`."""
        foreign = [template for _, template in self.rules]
        return {sequence(each): 2 if f"{sequence(each)}{{-2}}" in "\n".join(foreign) else 1 for each in foreign}

    @cached_property
    def _by_foreign(self) -> Table:
        return [(re.compile(pattern(foreign)), native, sequence(foreign)) for native, foreign in self.rules]

    @cached_property
    def _by_native(self) -> Table:
        return [(re.compile(pattern(native)), foreign, sequence(foreign)) for native, foreign in self.rules]

    def _anywhere(self, text: str) -> re.Pattern[str]:
        """A pattern for foreign keys behind any prefix. Only templates whose literal parts all occur in the text are
        included: compiling the others would take most of the time."""
        near = (foreign for _, foreign in self.rules if all(part in text for part in fixed_parts(foreign)))
        nameless = (re.sub(r"\?P<\w+>", "?:", pattern(foreign)) for foreign in near)
        return re.compile(rf"(?P<prefix>(?:.*?\.)??)(?:{'|'.join(nameless) or NOTHING})")


NOTHING = "(?!)"
"""A pattern that nothing matches."""


@cache
def fixed_parts(template: str) -> tuple[str, ...]:
    """The literal parts of a template."""
    return tuple(part for part in PLACEHOLDER.split(template) if part and part not in PATTERNS)


def pattern(template: str) -> str:
    """A template as a regular expression with a named group for each placeholder."""
    return "".join(PATTERNS.get(part) or re.escape(part) for part in PLACEHOLDER.split(template))


def sequence(foreign: str) -> str:
    """The text before the index in a sequence of layers; "" if the template has none."""
    head, placeholder, _ = re.split(r"(\{(?:[ne]|\+i|-[12])\}|$)", foreign, maxsplit=1)
    return head if placeholder else ""


def translate(key: str, table: Table, levels: Levels | int) -> str | None:
    """The key in the other scheme, with its numbers converted."""
    counted = Levels(levels) if isinstance(levels, int) else levels
    for source, target, through in table:
        match = source.fullmatch(key)
        if match:
            parts = recount(match.groupdict(), counted.count, counted.lengths.get(through, 1), "{i}" in through)
            return None if parts is None else fill(target, parts)
    return None


def fill(template: str, parts: dict[str, str]) -> str | None:
    """Fill the placeholders of a template; None if a number is negative: the other scheme has no such key."""
    filled = PLACEHOLDER.sub(lambda match: parts[match.group()[1:-1].replace("*", "rest")], template)
    return None if ".-" in filled else filled


def recount(parts: dict[str, str], levels: int, length: int, by_level: bool) -> dict[str, str] | None:
    """Add all numberings to the parts of a matched key; None if no level has such an index.

    Args:
        parts: the values of the placeholders.
        levels: the number of levels.
        length: layers per level in the sequence of the foreign template, including the last one.
        by_level: whether that sequence restarts in each level.
    """
    place = int(parts.get("place") or parts.get("end") or 0)
    at_end = place % length == length - 1
    if ("place" in parts and at_end and length > 1) or ("end" in parts and not at_end):
        return None
    if any(int(parts[name]) != length - FROM_END[name] for name in FROM_END if name in parts):
        return None
    after = {"-2": str(length - 2), "-1": str(length - 1)}
    if "reversed" in parts:
        i = levels - 1 - int(parts["reversed"])
    elif "less" in parts:
        i = int(parts["less"]) + 1
    elif "more" in parts:
        i = int(parts["more"]) - 1
    elif "i" in parts:
        i = int(parts["i"])
    elif "place" in parts or "end" in parts:
        i = place // length
    else:
        return parts | after
    j = int(parts.get("j") or place % length)
    start = 0 if by_level else i * length
    counted = {"i": i, "~i": levels - 1 - i, "-i": i - 1, "+i": i + 1, "j": j}
    counted |= {"n": start + j, "e": start + length - 1}
    return parts | after | {name: str(number) for name, number in counted.items()}


def numbers(keys: Iterable[str], table: Table, group: str) -> dict[str, list[int]]:
    """All numbers in this group, by the sequence of the template."""
    result: dict[str, list[int]] = {}
    numbered = [(source, through) for source, _, through in table if group in source.groupindex]
    for key in keys:
        for source, through in numbered:
            match = source.fullmatch(key)
            if match:
                result.setdefault(through, []).append(int(match[group]))
    return result


def count_levels(keys: Iterable[str], table: Table, group: str) -> int:
    return max((number for values in numbers(keys, table, group).values() for number in values), default=0) + 1


def leaves(native: str, foreign: str, names: dict[str, str]) -> Rules:
    """One rule for each leaf of a module, with its path and leaf templates in both schemes."""
    return tuple((f"{native}.{a}", f"{foreign}.{b}") for a, b in names.items())


def product(native: str, foreign: str, layers: dict[str, str]) -> Rules:
    """One rule for weight and bias of each layer of a module."""
    return leaves(native, foreign, {f"{a}.{{p}}": f"{b}.{{p}}" for a, b in layers.items()})


def same_names(rules: Rules) -> Rules:
    """The identity rules for the native templates of a table."""
    return tuple((native, native) for native, _ in rules)

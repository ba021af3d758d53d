"""Name the tensors beside a VAE: companions of its training are ignored, adapters must be merged first.

The names are in `companions.toml`. Only tensors that the VAE's layout does not know are looked up there.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import torch

from vaekit.catalog.tables import table
from vaekit.errors import WrongTensors, counted, printable
from vaekit.formats.open import TensorFile, TensorSpec

TABLE = "companions.toml"
FUSED = re.compile(r"(?P<module>.*\.)(?P<to>to_|)(?P<parts>qkv|kv)\.(?P<leaf>weight|bias)")
"""The key of a projection that is fused with others; diffusers' `fuse_qkv_projections` keeps the parts beside it."""
OTHERS = "others"


@dataclass(frozen=True)
class Companion:
    """Tensors beside a VAE, by their names."""

    name: str
    pattern: re.Pattern[str]
    scalar: bool = False
    """Whether only tensors with a single value match."""
    merge: str = ""
    """For an adapter: how to merge it; a sentence."""

    def matches(self, key: str, shape: tuple[int, ...]) -> bool:
        return self.pattern.fullmatch(key) is not None and (prod(shape) == 1 or not self.scalar)


def companion_of(key: str, shape: tuple[int, ...]) -> Companion | None:
    """The companion that a tensor belongs to; None if it is not known.

    Args:
        key: its name, without the VAE's prefix.
        shape: of the tensor.
    """
    return next((known for known in listed("companion") if known.matches(key, shape)), None)


def named_companions(specs: Mapping[str, TensorSpec], beside: Iterable[str], prefix: str) -> str:
    """The names of the companions of a VAE with their numbers of tensors: "a discriminator (12), others (3)"."""
    counts: Counter[str] = Counter()
    for key in beside:
        found = companion_of(key.removeprefix(prefix), specs[key].shape)
        counts[OTHERS if found is None else found.name] += 1
    named = sorted((item for item in counts.items() if item[0] != OTHERS), key=lambda item: (-item[1], item[0]))
    rest = [(OTHERS, counts[OTHERS])] if counts[OTHERS] and named else []
    return ", ".join(f"{name} ({count:,})" for name, count in (*named, *rest))


def redundant(file: TensorFile, unexpected: Collection[str]) -> set[str]:
    """Fused projections whose parts are in the file, too, with the same values."""
    return {key for key in unexpected if is_redundant(file, key)}


def is_redundant(file: TensorFile, key: str) -> bool:
    """Whether a tensor is the concatenation of others in the file."""
    match = FUSED.fullmatch(key)
    if match is None:
        return False
    parts = [f"{match['module']}{match['to']}{letter}.{match['leaf']}" for letter in match["parts"]]
    specs = [file.specs[name] for name in (key, *parts) if name in file.specs]
    rows = sum(spec.shape[0] for spec in specs[1:] if spec.shape)
    if len(specs) <= len(parts) or not all(spec.readable for spec in specs) or specs[0].shape[:1] != (rows,):
        return False
    read = file.read([key, *parts])
    separate = torch.cat(
        [read[name].float().flatten(1) if read[name].dim() > 1 else read[name].float() for name in parts]
    )
    return torch.equal(read[key].float().reshape(-1), separate.reshape(-1))


def fused_only(file: TensorFile, keys: Iterable[str]) -> WrongTensors | None:
    """The error for fused projections whose parts are missing or have other values; None without any.

    Args:
        file: the file.
        keys: of tensors that the VAE's layout does not know, and that are not redundant.
    """
    found = [match for match in map(FUSED.fullmatch, keys) if match]
    if not found:
        return None
    first = found[0]
    parts = [f"{first['to']}{letter}" for letter in first["parts"]]
    separate = f"{', '.join(parts[:-1])} and {parts[-1]}"
    beside = any(f"{first['module']}{part}.{first['leaf']}" in file.specs for part in parts)
    differ = f"which differ from {separate} beside them" if beside else f"without the separate {separate}"
    return WrongTensors(
        f"{file.path} stores {counted(len(found), 'fused projection')}, such as {printable(first[0])}, {differ}.",
        f"Expected {separate}, or fused projections with the same values beside them.",
        f"Split the fused ones along their first axis and save the weights without them: `{', '.join(first['parts'])} "
        f"= tensor.chunk({len(parts)})`{'; or save the separate ones alone, if those are meant' if beside else ''}.",
    )


def unmerged(path: Path, keys: Iterable[str], prefix: str) -> WrongTensors | None:
    """The error for a file with an adapter of the VAE that is not merged into its weights; None without one.

    Args:
        path: of the file.
        keys: of tensors that the VAE's layout does not know.
        prefix: of the VAE.
    """
    bare = [key.removeprefix(prefix) for key in keys]
    found = ((known, [key for key in bare if known.pattern.fullmatch(key)]) for known in listed("adapter"))
    adapter, matching = next(((known, matching) for known, matching in found if matching), (None, []))
    if adapter is None:
        return None
    return WrongTensors(
        f"{path} holds {adapter.name} beside the VAE's weights: {counted(len(matching), 'tensor')}, such as "
        f"{printable(matching[0])}.",
        "Expected weights into which it is merged.",
        adapter.merge,
    )


@cache
def listed(kind: str) -> tuple[Companion, ...]:
    """The entries of a kind in the table, "companion" or "adapter"."""
    return tuple(_entry(entry) for entry in table(TABLE)[kind])


def _entry(entry: dict[str, Any]) -> Companion:
    pattern = re.compile("|".join(map(_pattern, entry["keys"])), re.DOTALL)
    return Companion(entry["name"], pattern, entry.get("scalar", False), entry.get("merge", ""))


def _pattern(template: str) -> str:
    """A key of the table as a regular expression."""
    start, end = ".*" * template.startswith("*."), ".*" * template.endswith("*")
    inner = template.removeprefix("*" if start else "").removesuffix("*" if end else "")
    return start + re.escape(inner).replace(r"\{n\}", r"\d{1,4}").replace(r"\*", "[^.]*") + end

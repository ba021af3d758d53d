"""Naming schemes of tensors, as reversible tables.

A layout maps every native key to one foreign key and back; nothing is lost or invented. Templates name the parts that
vary: `{i}` and `{j}` are numbers, `{~i}` is the number of a decoder level counted from the other end, `{-i}` is one
less, `{p}` is `weight` or `bias`. Native keys are the attribute names of `vaekit.nets`.
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


RESIDUAL = {name: name for name in ("norm1", "conv1", "norm2", "conv2")} | {"nin_shortcut": "conv_shortcut"}
ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
OLD_ATTENTION = {"norm": "group_norm", "q": "query", "k": "key", "v": "value", "proj_out": "proj_attn"}
ENDS = {"conv_in": "conv_in", "norm_out": "conv_norm_out", "conv_out": "conv_out"}
QUANT_CONVS: Rules = (
    ("encoder.quant_conv.{p}", "quant_conv.{p}"),
    ("decoder.post_quant_conv.{p}", "post_quant_conv.{p}"),
)
STATISTICS: Rules = tuple((key, key) for key in ("bn.running_mean", "bn.running_var", "bn.num_batches_tracked"))
"""FLUX.2's frame as tensors, under the same names in every layout; see `statistics.py`."""


def diffusers_kl(attention: dict[str, str]) -> Rules:
    """The table of diffusers' AutoencoderKL, with the names it had for the layers of attention at the time."""
    return (
        *product("encoder", "encoder", ENDS),
        *product("encoder.down.{i}.block.{j}", "encoder.down_blocks.{i}.resnets.{j}", RESIDUAL),
        *product("encoder.down.{i}.attn.{j}", "encoder.down_blocks.{i}.attentions.{j}", attention),
        *product("encoder.down.{i}.downsample", "encoder.down_blocks.{i}.downsamplers.0", {"conv": "conv"}),
        *product("encoder.mid.block_1", "encoder.mid_block.resnets.0", RESIDUAL),
        *product("encoder.mid.attn_1", "encoder.mid_block.attentions.0", attention),
        *product("encoder.mid.block_2", "encoder.mid_block.resnets.1", RESIDUAL),
        *product("decoder", "decoder", ENDS),
        *product("decoder.mid.block_1", "decoder.mid_block.resnets.0", RESIDUAL),
        *product("decoder.mid.attn_1", "decoder.mid_block.attentions.0", attention),
        *product("decoder.mid.block_2", "decoder.mid_block.resnets.1", RESIDUAL),
        *product("decoder.up.{i}.block.{j}", "decoder.up_blocks.{~i}.resnets.{j}", RESIDUAL),
        *product("decoder.up.{i}.attn.{j}", "decoder.up_blocks.{~i}.attentions.{j}", attention),
        *product("decoder.up.{i}.upsample", "decoder.up_blocks.{~i}.upsamplers.0", {"conv": "conv"}),
        *QUANT_CONVS,
    )


def same_names(rules: Rules) -> Rules:
    """The identity on the native side of a table."""
    return tuple((native, native) for native, _ in rules)


def ldm(rules: Rules) -> Rules:
    """LDM's own names: the native ones, but for what stands outside the halves."""
    outside = dict(QUANT_CONVS + CODEBOOKS)
    return tuple((native, outside.get(native, native)) for native, _ in rules)


def half_alone(rules: Rules, half: str) -> Rules:
    """The native names of one half without its own prefix, as in the state dict of that half."""
    return (
        tuple((native, native.removeprefix(half + ".")) for native, _ in rules if native.startswith(half + "."))
        + STATISTICS
    )


def sequential(native: str, foreign: str) -> Rules:
    """The table of an `nn.Sequential` of convolutions and tiny blocks behind two prefixes."""
    return tuple((f"{native}.{leaf}", f"{foreign}.{leaf}") for leaf in ("{p}", "conv.{j}.{p}", "pool.{j}.{p}"))


CODEBOOK = "to_posterior.codebook"
"""The native key of a vector quantiser's weights."""
CODEBOOKS: Rules = ((CODEBOOK, "quantize.embedding.weight"),)
KL, OLD_KL = ((*diffusers_kl(attention), *STATISTICS) for attention in (ATTENTION, OLD_ATTENTION))
VQ, OLD_VQ = ((*diffusers_kl(attention), *CODEBOOKS) for attention in (ATTENTION, OLD_ATTENTION))
LAYOUTS = (
    Layout("ldm", "kl", ldm(KL)),
    Layout("native", "kl", same_names(KL)),
    Layout("diffusers", "kl", KL),
    Layout("diffusers-old", "kl", OLD_KL),
    Layout("ldm", "vq", ldm(VQ)),
    Layout("native", "vq", same_names(VQ)),
    Layout("diffusers", "vq", VQ),
    Layout("diffusers-old", "vq", OLD_VQ),
    Layout(
        "bare-encoder",
        "kl",
        half_alone(KL, "encoder"),
        has=("down.0.block.0.conv1.weight",),
        lacks=("up.0.block.0.conv1.weight",),
        any_prefix=False,
    ),
    Layout(
        "bare-decoder",
        "kl",
        half_alone(KL, "decoder"),
        has=("up.0.block.0.conv1.weight",),
        lacks=("down.0.block.0.conv1.weight",),
        any_prefix=False,
    ),
    Layout("native", "tiny", (*sequential("encoder.{i}", "encoder.{i}"), *sequential("decoder.{i}", "decoder.{i}"))),
    Layout(
        "diffusers",
        "tiny",
        (*sequential("encoder.{i}", "encoder.layers.{i}"), *sequential("decoder.{i}", "decoder.layers.{-i}")),
    ),
    Layout("tiny-encoder", "tiny", sequential("encoder.{i}", "{i}"), has=("0.weight",), any_prefix=False),
    Layout(
        "tiny-decoder",
        "tiny",
        sequential("decoder.{i}", "{i}"),
        has=("1.weight",),
        lacks=("0.weight",),
        any_prefix=False,
    ),
)
"""Every layout that is read; those named after a half hold that half only. Where two fit equally well, the first one
named is the answer."""


def layout_of(name: str, family: str) -> Layout | None:
    """The layout of this name for a family, if it has one."""
    return next((layout for layout in LAYOUTS if layout.name == name and layout.family == family), None)

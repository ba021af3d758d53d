"""Compare tensors with the network that a config describes."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vaekit.errors import VaekitError
from vaekit.families import HALVES, Config, ExpectedTensor, Family, Shapes, blueprint

HEADS = {"encoder": "to_posterior", "decoder": "to_likelihood"}
"""The head of each half."""
PRIOR = "to_prior"


@dataclass(frozen=True)
class Mismatches:
    """Native keys of tensors that are missing in a file, unexpected, or of another shape than in the network."""

    missing: tuple[str, ...]
    left_over: tuple[str, ...]
    misshapen: tuple[str, ...]

    @property
    def count(self) -> int:
        """The number of mismatches."""
        return len(self.missing) + len(self.left_over) + len(self.misshapen)


def mismatches(family: Family, config: Config, shapes: Shapes) -> Mismatches:
    """Compare tensors with the network of a config, or with the halves of it that have any of them."""
    expected = expected_tensors(family, config, shapes)
    return Mismatches(
        missing=tuple(key for key in expected if key not in shapes),
        left_over=tuple(key for key in shapes if key not in expected),
        misshapen=tuple(key for key in shapes if key in expected and not same_shape(shapes[key], expected[key].shape)),
    )


def expected_tensors(family: Family, config: Config, present: Collection[str]) -> Mapping[str, ExpectedTensor]:
    """The tensors of a network with the halves of which some are present, by native key."""
    wanted = blueprint(family.name, config, halves_in(present))
    absent = absent_heads(family, present)
    return {key: tensor for key, tensor in wanted.items() if module_of(key) not in absent} if absent else wanted


def absent_heads(family: Family, present: Collection[str]) -> frozenset[str]:
    """The heads that are missing together with their half, of a family whose heads have tensors of their own; a learned
    prior is missing with either."""
    modules = set(map(module_of, present))
    missing = [half for half in HALVES if half not in modules]
    heads = {head for half in missing for head in (HEADS[half], PRIOR)} if family.from_metadata else set()
    return frozenset(heads - modules)


def module_of(key: str) -> str:
    """The module of a VAE that a tensor belongs to."""
    return key.partition(".")[0]


def mismatch_count(family: Family, shapes: Shapes, fields: Mapping[str, Any]) -> int:
    """The number of tensors that do not match the config that a family's detector derives: 0 for a whole VAE of this
    family, and at least the number of tensors if the detector derives no config.

    Args:
        family: the candidate family.
        shapes: native keys and shapes.
        fields: the config fields in the file's metadata.
    """
    config = family.detect(shapes) if family.claims(shapes) else None
    if config is None or config.blocks > len(shapes):
        return len(shapes) + 1
    try:
        return mismatches(family, family.complete(config, fields, {}), shapes).count
    except VaekitError:
        return len(shapes)


def halves_in(present: Iterable[str]) -> tuple[str, ...]:
    """The halves, of "encoder" and "decoder", that have tensors among these."""
    modules = set(map(module_of, present))
    return tuple(half for half in HALVES if half in modules)


def same_shape(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Equal up to axes of size 1, which do not reorder values: some layouts store a 1x1 convolution as a matrix, or one
    over images with a single slice in time."""
    return without_ones(shape) == without_ones(expected)


def without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)

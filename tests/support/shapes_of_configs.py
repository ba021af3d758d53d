"""A config as names and shapes in a layout, and what the detectors read off them."""

import random
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import torch

from vaekit.families import LAYOUTS, Config, Layout, Shapes, assemble, family_of, family_with
from vaekit.formats.open import TensorFile, TensorSpec
from vaekit.formats.safetensors_writer import Piece
from vaekit.identification.fused_tensors import join_parts
from vaekit.identification.locate import locate

PREFIXES = ("", "first_stage_model.", "vae.", "autoencoder.", "some.odd.prefix.")


def family_name(config: Config) -> str:
    family = family_with(config)
    assert family is not None
    return family.name


@cache
def native_shapes(config: Config) -> Mapping[str, tuple[int, ...]]:
    with torch.device("meta"):
        vae = assemble(family_of(family_name(config)), config)
    return MappingProxyType({key: tuple(tensor.shape) for key, tensor in vae.state_dict().items()})


def in_layout(layout: Layout, shapes: Shapes, prefix: str = "") -> dict[str, tuple[int, ...]]:
    levels = layout.native_levels(shapes)
    named = {f"{prefix}{layout.from_native(key, levels)}": shape for key, shape in shapes.items()}
    pieces = [Piece(name, shape, torch.float32, lambda: torch.empty(0)) for name, shape in named.items()]
    return {piece.name: piece.shape for piece in join_parts(pieces)}


def detected(shapes: Shapes, seed: int = 0) -> tuple[Config | None, dict[str, tuple[int, ...]]]:
    """What the detectors say of a file with these names and shapes, in some order; and the native shapes found."""
    names = list(shapes)
    random.Random(seed).shuffle(names)
    specs = {name: TensorSpec(shapes[name], torch.float32) for name in names}
    found = locate(TensorFile(Path("any-name"), "safetensors", {}, specs, lambda _: {}))
    native = {key: found.spec(key).shape for key in found.names}
    return family_of(found.layout.family).detect(native), native


def layouts_for(config: Config) -> Iterable[Layout]:
    whole = (layout for layout in LAYOUTS if layout.family == family_name(config) and not layout.half)
    return (layout for layout in whole if layout.fits(config))


def assert_names(layout: Layout, config: Config, names: Mapping[str, str]) -> None:
    """A layout has these foreign names for native keys, and all keys of a config translate there and back."""
    keys = [key for key in native_shapes(config) if key.startswith(layout.half)]
    levels = layout.native_levels(keys)
    foreign = {key: layout.from_native(key, levels) for key in keys}
    assert {key: foreign[key] for key in names} == names
    counted = layout.levels([name for name in foreign.values() if name is not None])
    assert {key: layout.to_native(name or "", counted) for key, name in foreign.items()} == dict(
        zip(keys, keys, strict=True)
    )

"""The families of VAEs: one folder each, and the detection of a file's family by keys and shapes.

A new family is a folder here with `net.py` (the network and its config), `files.py` (a `FAMILY`: layouts, detector,
heads) and `facts.toml` (its latent spaces and published weights, read by `vaekit.catalog`). No other file changes.
"""

import pkgutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

import torch

from vaekit.families.family import Config, Family, Shapes
from vaekit.families.layout import HALVES, Layout
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE

__all__ = [
    "FAMILIES",
    "HALVES",
    "LAYOUTS",
    "PARTS",
    "Config",
    "Family",
    "Layout",
    "Shapes",
    "assemble",
    "blueprint",
    "family_of",
    "family_with",
    "layout_of",
    "padding_of",
]


def discovered() -> tuple[Family, ...]:
    """The family of each folder in this package, sorted by the names of the folders."""
    folders = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)
    return tuple(import_module(f"{__name__}.{folder}.files").FAMILY for folder in folders)


ALL_FAMILIES = discovered()
FAMILIES = tuple(family for family in ALL_FAMILIES if family.from_metadata is None)
"""Families that are detected by keys and shapes; no result depends on their order."""
LAYOUTS = tuple(layout for family in FAMILIES for layout in family.layouts)
(PARTS,) = (family for family in ALL_FAMILIES if family.from_metadata is not None)
"""The family that is named in the metadata: VAEs that vaekit trains itself."""


def family_of(name: str) -> Family:
    """The family of this name, which must exist."""
    return next(family for family in ALL_FAMILIES if family.name == name)


def family_with(config: object) -> Family | None:
    """The family of a config, if there is one."""
    return next((family for family in ALL_FAMILIES if type(config) is family.config), None)


def padding_of(config: Any) -> str:
    """The padding of the 3x3 convolutions of a network; empty for a family with a fixed padding."""
    family = family_with(config)
    return config.padding if family is not None and family.paddings else ""


@dataclass(frozen=True)
class ExpectedTensor:
    """A tensor of a network."""

    shape: tuple[int, ...]
    counts: bool
    """Whether it is the integer counter of a batch norm rather than a weight."""


@lru_cache(maxsize=256)
def blueprint(family: str, config: Config, halves: tuple[str, ...]) -> Mapping[str, ExpectedTensor]:
    """The tensors of a VAE with these halves, by native key; cached, since collections hold many VAEs of one shape."""
    with torch.device("meta"):
        vae = assemble(family_of(family), config, halves)
    return {key: ExpectedTensor(tuple(t.shape), not t.is_floating_point()) for key, t in vae.state_dict().items()}


def assemble(
    family: Family, config: Config, halves: Collection[str] = HALVES, normalization: LatentNormalization | None = None
) -> VAE:
    """A VAE with the given halves, as far as the family has them, and torch's initial weights (or none, under
    `torch.device("meta")`)."""
    nets = dict(zip(HALVES, family.build(config), strict=True))
    encoder, decoder = (nets[half] if half in halves else None for half in HALVES)
    return VAE(
        encoder,
        family.posterior_head(config),
        decoder,
        family.likelihood_head(config),
        normalization,
        to_prior=family.prior_head(config),
        config=config if family.from_metadata else None,
    )


def layout_of(name: str, family: str, config: Config | None = None) -> Layout | None:
    """The layout of this name for a family, if it exists; with a config, the one that fits it."""
    named = (layout for layout in (*LAYOUTS, *PARTS.layouts) if layout.name == name and layout.family == family)
    return next((layout for layout in named if config is None or layout.fits(config)), None)

"""The families that vaekit reads, one file each: how a file's own keys and shapes say which one it is.

A new family is a file of nets in `vaekit.nets`, a file here, and a line in the table below.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch

from vaekit.families.approx import files as approx
from vaekit.families.asymmetric import files as asymmetric
from vaekit.families.burgess import files as burgess
from vaekit.families.dcae import files as dcae
from vaekit.families.family import Config, Family, Shapes
from vaekit.families.hunyuan_image import files as hunyuan_image
from vaekit.families.joint import files as joint
from vaekit.families.kl import files as kl
from vaekit.families.layout import HALVES, Layout
from vaekit.families.parts import files as parts
from vaekit.families.tiny import files as tiny
from vaekit.families.vq import files as vq
from vaekit.families.wan import files as wan
from vaekit.families.wan22 import files as wan22
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
]

FAMILIES = (
    kl.FAMILY,
    tiny.FAMILY,
    wan.FAMILY,
    dcae.FAMILY,
    hunyuan_image.FAMILY,
    wan22.FAMILY,
    vq.FAMILY,
    asymmetric.FAMILY,
    approx.FAMILY,
    burgess.FAMILY,
    joint.FAMILY,
)
"""Those that keys and shapes tell, in the order of how much they are used."""
LAYOUTS = tuple(layout for family in FAMILIES for layout in family.layouts)
PARTS = parts.FAMILY
"""The family that its file tells."""


def family_of(name: str) -> Family:
    """The family of this name; it is an error of ours to ask for one that is not there."""
    return next(family for family in (*FAMILIES, PARTS) if family.name == name)


def family_with(config: object) -> Family | None:
    """The family that a config is of, if it is of one."""
    return next((family for family in (*FAMILIES, PARTS) if type(config) is family.config), None)


@dataclass(frozen=True)
class Wanted:
    """A tensor that a network has."""

    shape: tuple[int, ...]
    counts: bool
    """Whether it is a counter of whole numbers, beside a batch norm, and no weight."""


@lru_cache(maxsize=256)
def blueprint(family: str, config: Config, halves: tuple[str, ...]) -> Mapping[str, Wanted]:
    """The tensors of a VAE with these halves, by their native keys; collections hold many of one shape."""
    with torch.device("meta"):
        vae = assemble(family_of(family), config, halves)
    return {key: Wanted(tuple(t.shape), not t.is_floating_point()) for key, t in vae.state_dict().items()}


def assemble(
    family: Family, config: Config, halves: Collection[str] = HALVES, normalization: LatentNormalization | None = None
) -> VAE:
    """A VAE with those of these halves that the family has, and torch's initial weights (or none, under
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
        config=config if family.from_words else None,
    )


def layout_of(name: str, family: str, config: Config | None = None) -> Layout | None:
    """The layout of this name for a family, if it has one; the one whose names a network of this config has."""
    named = (layout for layout in (*LAYOUTS, *PARTS.layouts) if layout.name == name and layout.family == family)
    return next((layout for layout in named if config is None or layout.fits(config)), None)

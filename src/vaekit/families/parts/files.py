"""VAEs trained with vaekit: any networks with any heads. Shapes do not determine heads; the metadata has the config."""

from collections.abc import Mapping
from typing import Any

import torch

from vaekit.errors import UnknownVAE, printable
from vaekit.families.family import Family, Fields, Shapes
from vaekit.families.layout import Layout
from vaekit.families.parts import net
from vaekit.families.parts.net import LIKELIHOODS, NETS, POSTERIORS, PRIORS, PartsConfig
from vaekit.records import from_dict

SLOTS: dict[str, Mapping[str, type[Any]]] = {
    "net": NETS,
    "posterior": POSTERIORS,
    "likelihood": LIKELIHOODS,
    "prior": PRIORS,
}
"""The available parts by name."""

MOST_BLOCKS = 10_000
"""Of a network."""
UNBUILDABLE = (ValueError, RuntimeError, ArithmeticError, MemoryError)
"""What parts raise that are incompatible, and torch for sizes that no tensor has."""

RENAMED = {"picture_size": "image_size"}
"""Fields of parts that had other names in the first edition."""


def config_from_fields(fields: Fields) -> PartsConfig:
    """The config in a file's metadata or in a recipe.

    Raises:
        UnknownVAE: a part is missing or unknown, one of its fields is missing, unknown or of another type, or the parts
            are incompatible.
    """
    remaining = dict(fields)
    parts = {}
    for slot, kinds in SLOTS.items():
        part = remaining.pop(slot, {"kind": "customary"} if slot == "prior" else None)
        parts[slot] = part_from_fields(slot, part, kinds)
    if remaining:
        raise UnknownVAE(
            f"A VAE has no part {printable(next(iter(remaining)))!r}.", f"Its parts are {', '.join(SLOTS)}.", ""
        )
    try:
        config = PartsConfig(**parts)
        if config.blocks > MOST_BLOCKS:
            raise ValueError(f"the network has {config.blocks:,} blocks, more than {MOST_BLOCKS:,}")
        with torch.device("meta"):
            net.build(config)
            config.likelihood.head(config.net)
            config.prior.head(config.net, config.posterior)
    except UNBUILDABLE as error:
        reason = str(error).partition("\n")[0]
        raise UnknownVAE(f"The parts of this VAE do not fit together: {printable(reason, 200)}.", "", "") from error
    return config


def part_from_fields(slot: str, fields: object, kinds: Mapping[str, type[Any]]) -> Any:
    """Construct one part.

    Raises:
        UnknownVAE: see `config_from_fields`.
    """
    kind = fields.get("kind") if isinstance(fields, Mapping) else None
    if not isinstance(fields, Mapping) or not isinstance(kind, str) or kind not in kinds:
        raise UnknownVAE(
            f"The {slot} of this VAE is {printable(repr(kind))}.",
            f"Expected one of {', '.join(kinds)}.",
            "A newer version of vaekit may support it.",
        )
    part = kinds[kind]
    settings = {RENAMED.get(name, name): value for name, value in fields.items() if name != "kind"}
    try:
        return from_dict(part, settings)
    except ValueError as error:
        raise UnknownVAE(f"The {slot} {kind!r} cannot be built: {error}.", "", "") from error


def not_detectable(_: Shapes) -> None:
    """Shapes do not determine a config."""


NAMES = tuple(
    (f"{part}.{{*}}", f"{part}.{{*}}") for part in ("encoder", "decoder", "to_posterior", "to_likelihood", "to_prior")
)
LAYOUT = Layout("native", "parts", NAMES, any_prefix=False)
FAMILY = Family(
    name="parts",
    config=PartsConfig,
    layouts=(LAYOUT,),
    detect=not_detectable,
    from_metadata=config_from_fields,
    build=net.build,
    posterior_head=lambda config: config.posterior.head(config.net),
    likelihood_head=lambda config: config.likelihood.head(config.net),
    prior_head=lambda config: config.prior.head(config.net, config.posterior),
)

"""VAEs trained with vaekit: any networks with any heads. Shapes do not determine heads; the metadata has the config."""

from collections.abc import Mapping
from typing import Any

import torch

from vaekit.errors import UnknownVAE, printable
from vaekit.families.family import Family, Shapes, Words
from vaekit.families.layout import Layout
from vaekit.families.parts import net as parts
from vaekit.families.parts.net import LIKELIHOODS, NETS, POSTERIORS, PRIORS, PartsConfig
from vaekit.records import from_dict

SLOTS: dict[str, Mapping[str, type[Any]]] = {
    "net": NETS,
    "posterior": POSTERIORS,
    "likelihood": LIKELIHOODS,
    "prior": PRIORS,
}
"""Which words may stand for each part."""

RENAMED = {"picture_size": "image_size"}
"""Fields of parts by the names that files of the first edition have for them."""


def config_from_words(words: Words) -> PartsConfig:
    """The config that a file's metadata or a recipe tells.

    Raises:
        UnknownVAE: a part is missing or unknown, one of its fields is missing, unknown or of another type, or the parts
            do not go together.
    """
    told = dict(words)
    made = {}
    for slot, kinds in SLOTS.items():
        part = told.pop(slot, {"kind": "customary"} if slot == "prior" else None)
        made[slot] = part_from_words(slot, part, kinds)
    if told:
        raise UnknownVAE(
            f"A VAE has no part {printable(next(iter(told)))!r}.", f"Its parts are {', '.join(SLOTS)}.", ""
        )
    try:
        config = PartsConfig(**made)
        with torch.device("meta"):
            config.likelihood.head(config.net)
            config.prior.head(config.net, config.posterior)
    except ValueError as error:
        raise UnknownVAE(f"The parts of this VAE do not fit together: {error}.", "", "") from error
    return config


def part_from_words(slot: str, words: object, kinds: Mapping[str, type[Any]]) -> Any:
    """One part.

    Raises:
        UnknownVAE: see `config_from_words`.
    """
    kind = words.get("kind") if isinstance(words, Mapping) else None
    if not isinstance(words, Mapping) or not isinstance(kind, str) or kind not in kinds:
        raise UnknownVAE(
            f"The {slot} of this VAE is {printable(repr(kind))}.",
            f"Expected one of {', '.join(kinds)}.",
            "A newer version of vaekit may support it.",
        )
    part = kinds[kind]
    fields = {RENAMED.get(name, name): value for name, value in words.items() if name != "kind"}
    try:
        return from_dict(part, fields)
    except ValueError as error:
        raise UnknownVAE(f"The {slot} {kind!r} cannot be built: {error}.", "", "") from error


def told_by_nothing(_: Shapes) -> None:
    """Shapes alone tell no config."""


NAMES = tuple(
    (f"{part}.{{*}}", f"{part}.{{*}}") for part in ("encoder", "decoder", "to_posterior", "to_likelihood", "to_prior")
)
LAYOUT = Layout("native", "parts", NAMES, any_prefix=False)
FAMILY = Family(
    name="parts",
    config=PartsConfig,
    layouts=(LAYOUT,),
    detect=told_by_nothing,
    from_words=config_from_words,
    build=parts.build,
    posterior_head=lambda config: config.posterior.head(config.net),
    likelihood_head=lambda config: config.likelihood.head(config.net),
    prior_head=lambda config: config.prior.head(config.net, config.posterior),
)

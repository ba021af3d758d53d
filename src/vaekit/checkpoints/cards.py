"""Known VAEs as facts: the tables `kinds.toml` and `cards.toml`, read."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from vaekit.checkpoints.families import Config
from vaekit.vae import LatentFrame


@dataclass(frozen=True)
class Kind:
    """A latent space that several models share."""

    name: str
    family: str
    match: Mapping[str, Any]
    frame: LatentFrame | None
    frame_in: str = ""
    """Where a file of this kind tells its frame, for kinds without one of their own."""
    model_name: str = ""
    """What a config.json beside a file of this kind calls the model, where its authors' does and shapes do not tell."""

    def fits(self, family: str, config: Config) -> bool:
        """Whether a config has every field that makes up this kind."""
        return family == self.family and all(getattr(config, field) == value for field, value in self.match.items())


@dataclass(frozen=True)
class Card:
    """One set of weights that can be loaded by name."""

    name: str
    file: str
    """Inside the package."""
    fingerprint: str
    about: str
    data: str
    """What it was trained on."""
    licence: str
    training: str
    measured: str


@cache
def kinds() -> tuple[Kind, ...]:
    """Every kind in the table."""
    return tuple(
        Kind(
            entry["name"],
            entry["family"],
            _frozen(entry["match"]),
            _frame(entry.get("frame")),
            entry.get("frame_in", ""),
            entry.get("model_name", ""),
        )
        for entry in _table("kinds.toml")["kind"]
    )


@cache
def cards() -> tuple[Card, ...]:
    """Every VAE that can be loaded by name."""
    return tuple(Card(**entry) for entry in _table("cards.toml")["vae"])


def card_of(name_or_fingerprint: str) -> Card | None:
    """The card of a VAE that can be loaded by this name, or whose weights have this fingerprint."""
    return next((card for card in cards() if name_or_fingerprint in (card.name, card.fingerprint)), None)


def matching_kinds(family: str, config: Config) -> tuple[Kind, ...]:
    """The kinds that a VAE of this shape may be; more than one where shapes cannot tell."""
    return tuple(kind for kind in kinds() if kind.fits(family, config))


def agreed_frame(candidates: Sequence[Kind]) -> LatentFrame | None:
    """The frame that all candidates share; None where they differ or there is none."""
    frames = {kind.frame for kind in candidates}
    return frames.pop() if len(frames) == 1 else None


@cache
def _table(name: str) -> dict[str, Any]:
    return tomllib.loads(resources.files("vaekit.checkpoints").joinpath(name).read_text("utf-8"))


def _frozen(match: dict[str, Any]) -> dict[str, Any]:
    return {field: tuple(value) if isinstance(value, list) else value for field, value in match.items()}


def _frame(entry: dict[str, list[float]] | None) -> LatentFrame | None:
    return None if entry is None else LatentFrame(shift=tuple(entry["shift"]), scale=tuple(entry["scale"]))

"""What is in a file that vaekit cannot run: a VAE that it only recognizes, or something that is no VAE.

Behavior for the tables `unsupported.toml` and `non_vae.toml`. Both tell by key names, as published files have them;
no file name is ever looked at. They are asked only when no runnable family explains a file.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

from vaekit.catalog.tables import family_facts, table
from vaekit.errors import NotRunnable, UnknownVAE
from vaekit.formats.open import TensorFile, TensorSpec

LONGEST_KEY, MOST_KEYS = 200, 20_000
"""Longer names and more tensors are no one's; left out, so that a hostile file takes no time to speak of."""
Specs = Mapping[str, TensorSpec]


@dataclass(frozen=True)
class KeySignature:
    """Keys by which something is known: every key of one of the groups, and none of those that it lacks."""

    groups: tuple[tuple[str, ...], ...]
    lacks: tuple[str, ...] = ()

    def prefix_in(self, text: str) -> str | None:
        """The prefix behind which the first key of a group stands, in keys one on a line; None where one is missing."""
        if any(found(key, text) for key in self.lacks):
            return None
        for group in self.groups:
            matches = [found(key, text) for key in group]
            if all(matches):
                return next(match["prefix"] for match in matches if match)
        return None


@dataclass(frozen=True)
class UnsupportedFamily:
    """A VAE that is known by its tensors and not run."""

    name: str
    telltale: KeySignature
    why: str
    runs_in: str
    factor: int | None
    channels: int | None
    channels_in: tuple[str, ...]
    """Tensors that tell the latent channels, where it is not the same number in every file."""
    axis: int

    def channels_of(self, specs: Specs, prefix: str) -> int | None:
        """The latent channels, as far as the file's tensors tell."""
        shapes = (specs[prefix + key].shape for key in self.channels_in if prefix + key in specs)
        return next((shape[self.axis] for shape in shapes if len(shape) > self.axis), self.channels)


@dataclass(frozen=True)
class NonVAE:
    """Something that is no VAE."""

    name: str
    telltale: KeySignature
    vae: str
    """Where the VAE is that goes with it; a sentence."""


def match_unsupported(specs: Specs) -> tuple[UnsupportedFamily, str] | None:
    """The VAE in a file that vaekit knows and cannot run, and the prefix that it stands behind."""
    text = listing(specs)
    prefixes = ((known, known.telltale.prefix_in(text)) for known in unsupported_families())
    return next(((known, prefix) for known, prefix in prefixes if prefix is not None), None)


def match_non_vae(specs: Specs) -> NonVAE | None:
    """What a file without a VAE holds instead."""
    text = listing(specs)
    return next((known for known in non_vae_signatures() if known.telltale.prefix_in(text) is not None), None)


def not_runnable(file: TensorFile) -> NotRunnable | None:
    """The error for a file that no runnable family explains, if the VAE in it is recognized."""
    recognition = match_unsupported(file.specs)
    if recognition is None:
        return None
    known, _ = recognition
    return NotRunnable(
        f"The VAE in {file.path} is recognized, not runnable: {known.name}. {known.why}.",
        "Expected one of the families that vaekit has a network for.",
        f"Run it in {known.runs_in}.",
    )


def no_vae(file: TensorFile) -> UnknownVAE | None:
    """The error for a file without a VAE, if what is there instead is known."""
    stranger = match_non_vae(file.specs)
    if stranger is None:
        return None
    return UnknownVAE(
        f"There is no VAE in {file.path}: its {len(file.specs):,} tensors look like {stranger.name}.",
        "Expected the tensors of an autoencoder, under any of the known naming schemes.",
        stranger.vae,
    )


def listing(specs: Specs) -> str:
    """The keys, one on a line."""
    return "\n".join(key for key in islice(specs, MOST_KEYS) if len(key) <= LONGEST_KEY and "\n" not in key)


def found(template: str, text: str) -> re.Match[str] | None:
    """The first key of a listing that a template fits, behind the shortest prefix."""
    literal, compiled = pattern(template)
    return compiled.search(text) if literal in text else None


@cache
def pattern(template: str) -> tuple[str, re.Pattern[str]]:
    """A key with {n} for a number and * for anything: its longest literal part, and a pattern for one line.

    A prefix is allowed but for keys with a * before their end, which are whole names: two things that stand for
    anything would make a search take the square of a name's length.
    """
    escaped = re.escape(template).replace(r"\{n\}", r"\d{1,4}").replace(r"\*", ".*")
    prefix = "" if "*" in template[:-1] else r"(?:.*?\.)??"
    literal = max(re.split(r"\{n\}|\*", template), key=len)
    return literal, re.compile(rf"^(?P<prefix>{prefix}){escaped}$", re.MULTILINE)


@cache
def unsupported_families() -> tuple[UnsupportedFamily, ...]:
    """Every VAE in the table that is known and not run: those that no runnable family supersedes."""
    superseded = {name for facts in family_facts() for name in facts.get("supersedes", ())}
    return tuple(_recognized(entry) for entry in table("unsupported.toml")["vae"] if entry["name"] not in superseded)


@cache
def non_vae_signatures() -> tuple[NonVAE, ...]:
    """Everything in the table that is no VAE."""
    return tuple(NonVAE(entry["name"], _telltale(entry), entry["vae"]) for entry in table("non_vae.toml")["stranger"])


def _recognized(entry: dict[str, Any]) -> UnsupportedFamily:
    channels = entry.get("channels")
    where: dict[str, Any] = channels if isinstance(channels, dict) else {"keys": [], "axis": 0}
    return UnsupportedFamily(
        name=entry["name"],
        telltale=_telltale(entry),
        why=entry["why"],
        runs_in=entry["runs_in"],
        factor=entry.get("factor"),
        channels=channels if isinstance(channels, int) else None,
        channels_in=tuple(where["keys"]),
        axis=where["axis"],
    )


def _telltale(entry: dict[str, Any]) -> KeySignature:
    return KeySignature(tuple(map(tuple, entry["tells"])), tuple(entry.get("lacks", ())))

"""Which known VAE weights are: by the hash of the file, by their fingerprint, by their sketch, by one half of them.

What is known stands in the cards. A file that has the verified hash of a card's file teaches the fingerprints of its
weights, which are kept in the user's cache: from then on the same weights are known under any name, layout and format.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from vaekit.cache import keep, recall
from vaekit.catalog.entries import CatalogEntry, catalog_entries
from vaekit.catalog.identity import Identity, as_json, from_json
from vaekit.catalog.tables import LEARNED
from vaekit.identification.fingerprint import ROUNDING, distance

FINE_TUNED = 0.3
"""Identity that moved by less than this share of their norm come from the same training run. Independent runs are about
1.4 apart: their weights have nothing to do with each other."""


@dataclass(frozen=True)
class WeightMatch:
    """What known VAEs have to do with some weights."""

    card: CatalogEntry | None = None
    """The VAE that these weights are, or are a half of."""
    how: str = ""
    """How that is known, a phrase."""
    same_encoder: CatalogEntry | None = None
    """A VAE whose encoder this is, so that their latents are the same."""
    akin: tuple[str, ...] = ()
    """Sentences about the nearest known relative."""


def match_weights(weights: Identity, sha256: str = "") -> WeightMatch:
    """The known VAE that these weights are, or what they have in common with one.

    Args:
        weights: what `fingerprint.identity_of` says.
        sha256: of the whole file; empty where it was not asked for or holds more than a VAE.
    """
    for card in catalog_entries():
        for file in card.files:
            if sha256 and file.sha256 == sha256:
                if file.verified:
                    learn(card, weights)
                trust = "verified" if file.verified else "unverified: one source only"
                return WeightMatch(card, f"by the SHA-256 of the file ({trust})", card)
    known = list(known_identities())
    for card, theirs in known:
        if theirs.fingerprint == weights.fingerprint:
            return WeightMatch(card, "by the fingerprint of its weights", card)
    for card, theirs in known:
        found = same_halves(weights, theirs)
        if found.keys() >= weights.halves.keys():
            return WeightMatch(card, match_description(found, theirs), card if "encoder" in found else None)
    return relatives(weights, known)


def match_description(found: dict[str, str], theirs: Identity) -> str:
    """How halves that are all known were recognized."""
    part = "" if found.keys() >= theirs.halves.keys() else f" of its {next(iter(found))}"
    rounded = [words for words in found.values() if words]
    return f"by the {'sketch' if rounded else 'fingerprint'} of its weights{part}{rounded[0] if rounded else ''}"


def same_halves(ours: Identity, theirs: Identity) -> dict[str, str]:
    """The halves of ours that are theirs, each with a phrase on how they were rounded (empty: not at all)."""
    found = {}
    for half in ours.halves.keys() & theirs.halves.keys():
        if ours.halves[half] == theirs.halves[half]:
            found[half] = ""
            continue
        moved = distance(ours.sketches[half], theirs.sketches[half])
        told = ours.rounded_to or theirs.rounded_to
        limit = max((ROUNDING[getattr(torch, name)] for name in told), default=0.0)
        if moved <= limit:
            found[half] = f", rounded to {' or '.join(told)}: {moved:.2%} away"
    return found


def relatives(ours: Identity, known: list[tuple[CatalogEntry, Identity]]) -> WeightMatch:
    """What weights without a card have in common with those that have one."""
    told = []
    same_encoder = None
    for half in sorted(ours.halves, reverse=True):
        near = [(distance(ours.sketches[half], w.sketches[half]), card, w) for card, w in known if half in w.sketches]
        moved, card, theirs = min(near, key=lambda entry: entry[0], default=(1.0, None, None))
        if card is None or theirs is None or moved > FINE_TUNED:
            continue
        if half in same_halves(ours, theirs):
            told.append(f"Its {half} is that of {card.name}.")
            same_encoder = card if half == "encoder" else same_encoder
        else:
            told.append(f"Its {half} is {moved:.1%} away from that of {card.name}: a fine-tune, or a relative.")
    return WeightMatch(same_encoder=same_encoder, akin=tuple(told))


def known_identities() -> Iterator[tuple[CatalogEntry, Identity]]:
    """Every card whose weights are known by fingerprint: from the tables, or learnt on this machine."""
    learnt = recall([learned_identities(card) for card in catalog_entries() if card.weights is None])
    for card in catalog_entries():
        told = learnt.get(learned_identities(card))
        if card.weights is not None:
            yield card, card.weights
        elif told is not None:
            yield card, from_json(told)


def learn(card: CatalogEntry, weights: Identity) -> None:
    """Remember what the weights of a card are known by."""
    if card.weights is None and not recall([learned_identities(card)]):
        keep({learned_identities(card): as_json(weights), LEARNED: recall([LEARNED]).get(LEARNED, 0) + 1})


def learned_identities(card: CatalogEntry) -> str:
    return json.dumps(["learnt", card.name, card.files[0].sha256])

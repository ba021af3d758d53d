"""Match weights with the catalog: by file hash, fingerprint, sketch, or one half.

A file with the verified hash of an entry's file provides the fingerprints of that entry's
weights, which are cached: from then on the same weights are recognized under any name, layout and format.
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
"""Weights with a relative distance below this come from the same training run. Independent runs are about
1.4 apart: their weights are uncorrelated."""


@dataclass(frozen=True)
class WeightMatch:
    """The catalog entries that some weights match."""

    entry: CatalogEntry | None = None
    """The entry that has these weights, or whose half they are."""
    how: str = ""
    """How it was recognized; a phrase."""
    same_encoder: CatalogEntry | None = None
    """An entry with the same encoder, and hence the same latents."""
    relatives: tuple[str, ...] = ()
    """Sentences about the nearest relative in the catalog."""


def match_weights(weights: Identity, sha256: str = "") -> WeightMatch:
    """Find the catalog entry of these weights, or their relatives.

    Args:
        weights: the result of `fingerprint.identity_of`.
        sha256: of the whole file; empty if it was not computed or the file holds more than a VAE.
    """
    for entry in catalog_entries():
        for file in entry.files:
            if sha256 and file.sha256 == sha256:
                if file.verified:
                    learn(entry, weights)
                trust = "verified" if file.verified else "unverified: one source only"
                return WeightMatch(entry, f"by the SHA-256 of the file ({trust})", entry)
    known = list(known_identities())
    for entry, other in known:
        if other.fingerprint == weights.fingerprint:
            return WeightMatch(entry, "by the fingerprint of its weights", entry)
    for entry, other in known:
        halves = same_halves(weights, other)
        if halves.keys() >= weights.halves.keys():
            return WeightMatch(entry, match_description(halves, other), entry if "encoder" in halves else None)
    return find_relatives(weights, known)


def match_description(halves: dict[str, str], other: Identity) -> str:
    """A phrase for how the halves were recognized."""
    part = "" if halves.keys() >= other.halves.keys() else f" of its {next(iter(halves))}"
    rounded = [phrase for phrase in halves.values() if phrase]
    return f"by the {'sketch' if rounded else 'fingerprint'} of its weights{part}{rounded[0] if rounded else ''}"


def same_halves(weights: Identity, other: Identity) -> dict[str, str]:
    """The shared halves, each with a phrase on how it was rounded (empty: not at all)."""
    shared = {}
    for half in weights.halves.keys() & other.halves.keys():
        if weights.halves[half] == other.halves[half]:
            shared[half] = ""
            continue
        moved = distance(weights.sketches[half], other.sketches[half])
        dtypes = weights.rounded_to or other.rounded_to
        limit = max((ROUNDING[getattr(torch, name)] for name in dtypes), default=0.0)
        if moved <= limit:
            shared[half] = f", rounded to {' or '.join(dtypes)}: {moved:.2%} difference"
    return shared


def find_relatives(weights: Identity, known: list[tuple[CatalogEntry, Identity]]) -> WeightMatch:
    """The relatives, in the catalog, of weights without an entry."""
    sentences = []
    same_encoder = None
    for half in sorted(weights.halves, reverse=True):
        near = [
            (distance(weights.sketches[half], w.sketches[half]), entry, w) for entry, w in known if half in w.sketches
        ]
        moved, entry, other = min(near, key=lambda each: each[0], default=(1.0, None, None))
        if entry is None or other is None or moved > FINE_TUNED:
            continue
        if half in same_halves(weights, other):
            sentences.append(f"Its {half} is identical to that of {entry.name}.")
            same_encoder = entry if half == "encoder" else same_encoder
        else:
            sentences.append(f"Its {half} differs by {moved:.1%} from that of {entry.name}: a fine-tune or relative.")
    return WeightMatch(same_encoder=same_encoder, relatives=tuple(sentences))


def known_identities() -> Iterator[tuple[CatalogEntry, Identity]]:
    """Every entry with a known fingerprint: from the catalog, or learned on this machine."""
    learned = recall([learned_identities(entry) for entry in catalog_entries() if entry.weights is None])
    for entry in catalog_entries():
        identity = learned.get(learned_identities(entry))
        if entry.weights is not None:
            yield entry, entry.weights
        elif identity is not None:
            yield entry, from_json(identity)


def learn(entry: CatalogEntry, weights: Identity) -> None:
    """Cache the fingerprints of an entry's weights."""
    if entry.weights is None and not recall([learned_identities(entry)]):
        keep({learned_identities(entry): as_json(weights), LEARNED: recall([LEARNED]).get(LEARNED, 0) + 1})


def learned_identities(entry: CatalogEntry) -> str:
    return json.dumps(["learnt", entry.name, entry.files[0].sha256])

"""The VAEs at hand: what is in the models folders, in the package and in the Hub's cache, and what could be fetched.

Looking at a file means reading its header and hashing the VAE's own tensors in it, so it is done once and remembered
until the file changes. A whole checkpoint is never read whole.
"""

import dataclasses
import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaekit.cache import keep, recall, stamp
from vaekit.catalog.entries import CatalogEntry, catalog_entries
from vaekit.catalog.tables import digest
from vaekit.errors import VaekitError
from vaekit.formats.paths import exists
from vaekit.library.download import no_progress
from vaekit.library.folders import Trouble, default_folder, models_folders, scan_all
from vaekit.library.hub import Progress
from vaekit.library.inspect import inspect
from vaekit.library.known_vaes import cached_by_the_hub
from vaekit.library.names import locate_vae, names_of

PACKAGE, HUB_CACHE = "inside vaekit", "the Hub's cache"
KEEP_EVERY = 2.0
"""Seconds after which new answers are remembered, so that an interrupted scan is not lost."""
Facts = dict[str, Any]


@dataclass(frozen=True)
class ListedVAE:
    """One VAE at hand. The facts are those of `Inspection`."""

    name: str
    """The shortest that `--vae` takes for it."""
    path: Path
    place: str
    """The models folder, or where else it is."""
    bytes: int
    facts: Mapping[str, Any]
    duplicates: tuple[str, ...]
    """Names of others with the same weights, in whatever layout or format."""
    rounded: tuple[str, ...]
    """Names of others that are the same known VAE in another precision, or halves of it."""


@dataclass(frozen=True)
class UnusableFile:
    """A weights file in a models folder that is no VAE, or a broken one."""

    name: str
    path: Path
    error: str
    """The class of the error that loading it would raise."""
    reason: str


@dataclass(frozen=True)
class Listing:
    """All of it."""

    folders: tuple[Path, ...]
    vaes: tuple[ListedVAE, ...]
    unusable: tuple[UnusableFile, ...]
    troubles: tuple[Trouble, ...]
    known: tuple[CatalogEntry, ...]
    """The known VAEs that are not at hand."""


@dataclass(frozen=True)
class _Found:
    """A file or folder before anybody looked into it."""

    name: str
    path: Path
    place: str
    files: tuple[Path, ...]


def list_vaes(models: Sequence[Path] | None = None, progress: Progress = no_progress) -> Listing:
    """Look at everything; what is remembered is not looked at again.

    Args:
        models: the models folders; see `models_folders` for where they are when this is None.
        progress: told how many files are done and how many there are to look at.
    """
    folders = models_folders(models)
    unmade = None if exists(default_folder()) else default_folder()  # nobody fetched anything yet
    entries, troubles = scan_all(folders)
    names = names_of(entries)
    with ExitStack() as files:
        found = [
            *(_Found(card.name, path, PACKAGE, (path,)) for card, path in _packaged(files)),
            *(_Found(names[entry.path], entry.path, str(entry.home), entry.files) for entry in entries),
        ]
        told = inspect_all(found, progress)
        at_hand = {facts.get("card") for facts in told.values()}
        cached = [
            _Found(card.name, path, HUB_CACHE, (path,))
            for card in catalog_entries()
            if card.name not in at_hand and (path := cached_by_the_hub(card.files[0])) is not None
        ]
        told |= inspect_all(cached, progress)
        vaes = _listed([*found, *cached], told)
    at_hand |= {one.name for one in cached}
    return Listing(
        folders=folders,
        vaes=tuple(vaes),
        unusable=tuple(
            UnusableFile(one.name, one.path, told[one.path]["error"], told[one.path]["reason"])
            for one in found
            if "error" in told.get(one.path, {})
        ),
        troubles=tuple(trouble for trouble in troubles if trouble.path != unmade),
        known=tuple(card for card in catalog_entries() if not card.packaged and card.name not in at_hand),
    )


def inspect_all(found: Sequence[_Found], progress: Progress) -> dict[Path, Facts]:
    """What is in each file, by its path; a file that vanished meanwhile is left out."""
    keys = {one.path: key for one in found if (key := _key(one))}
    known = recall(list(keys.values()))
    told = {path: known[key] for path, key in keys.items() if key in known}
    waiting = [one for one in found if one.path in keys and one.path not in told]
    fresh: dict[str, Facts] = {}
    since = time.monotonic()
    try:
        for done, one in enumerate(waiting):
            progress(done, len(waiting))
            told[one.path] = json.loads(json.dumps(inspect_file(one.path)))  # what JSON makes of it, now as later
            if _key(one) == keys[one.path]:  # it stayed the same while we looked
                fresh[keys[one.path]] = told[one.path]
            if time.monotonic() - since > KEEP_EVERY:
                keep(fresh)
                fresh, since = {}, time.monotonic()
    finally:
        keep(fresh)
    return told


def inspect_file(path: Path) -> Facts:
    """What `inspect` says of a file, and which known VAE it is, as JSON can hold it; or the error that it raises."""
    try:
        seen = inspect(path, measure=False)
    except (VaekitError, OSError) as error:
        found = error.found if isinstance(error, VaekitError) else str(error)
        reason = found.replace(str(path), "this file" if path.is_file() else "this folder")
        return {"error": type(error).__name__, "reason": reason[:1].upper() + reason[1:]}
    facts, card = dataclasses.asdict(seen), seen.card
    for long in ("path", "config", "sketches"):
        del facts[long]
    return facts | {"card": card and card.name, "fp16": card.fp16 if card else "unknown"}


def _packaged(files: ExitStack) -> list[tuple[CatalogEntry, Path]]:
    return [(card, files.enter_context(locate_vae(card.name))) for card in catalog_entries() if card.packaged]


def _listed(found: Sequence[_Found], told: Mapping[Path, Facts]) -> list[ListedVAE]:
    """Those that are VAEs, with their duplicates."""
    usable = [one for one in found if "fingerprint" in told.get(one.path, {})]
    alike: dict[object, list[str]] = defaultdict(list)
    known: dict[str, list[str]] = defaultdict(list)
    for one in usable:
        alike[told[one.path]["fingerprint"] or one.path].append(one.name)
        if told[one.path]["card"]:
            known[told[one.path]["card"]].append(one.name)
    listed = []
    for one in usable:
        facts = told[one.path]
        same = alike[facts["fingerprint"] or one.path]
        akin = known[facts["card"]] if facts["card"] else []
        listed.append(
            ListedVAE(
                name=one.name,
                path=one.path,
                place=one.place,
                bytes=one.files[0].stat().st_size,
                facts=facts,
                duplicates=tuple(name for name in same if name != one.name),
                rounded=tuple(name for name in akin if name not in same),
            )
        )
    return listed


def _key(found: _Found) -> str:
    """What the answer for an entry is remembered under; empty if it is not there any more."""
    try:
        return " ".join(stamp(file, f"listing {digest()}") for file in found.files)
    except OSError:
        return ""

"""List the available VAEs: in the models folders, in the package, in the Hub's cache, and for download.

Inspecting a file reads its header and hashes the tensors of its VAE; the result is cached
until the file changes. Other tensors of a whole checkpoint are not read.
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
from vaekit.errors import VaekitError, system_errors
from vaekit.formats.paths import WEIGHTS_ENDINGS
from vaekit.library.download import no_progress
from vaekit.library.folders import Trouble, default_folder, models_folders, scan_all
from vaekit.library.hub import Progress
from vaekit.library.inspect import inspect
from vaekit.library.known_vaes import cached_by_the_hub
from vaekit.library.names import locate_vae, names_of
from vaekit.reading import exists

PACKAGE, HUB_CACHE = "inside vaekit", "the Hub's cache"
KEEP_EVERY = 2.0
"""Interval in seconds at which new results are cached, so that an interrupted scan is not lost."""
QUESTION = "listing 3"
"""The start of the cache key; the number counts changes of the record."""
Facts = dict[str, Any]


@dataclass(frozen=True)
class ListedVAE:
    """One available VAE. The fields are those of `Inspection`."""

    name: str
    """The shortest name that `--vae` accepts for it."""
    path: Path
    place: str
    """The models folder or other location."""
    bytes: int
    facts: Mapping[str, Any]
    duplicates: tuple[str, ...]
    """Names of others with the same weights, in any layout or format."""
    rounded: tuple[str, ...]
    """Names of others that are the same known VAE in another precision, or halves of it."""


@dataclass(frozen=True)
class UnusableFile:
    """A weights file in a models folder that holds no VAE, or a damaged one."""

    name: str
    path: Path
    error: str
    """The class of the error that loading it raises."""
    reason: str


@dataclass(frozen=True)
class Listing:
    """The available and the known VAEs."""

    folders: tuple[Path, ...]
    vaes: tuple[ListedVAE, ...]
    unusable: tuple[UnusableFile, ...]
    troubles: tuple[Trouble, ...]
    known: tuple[CatalogEntry, ...]
    """The known VAEs that are not available locally."""


@dataclass(frozen=True)
class FoundFile:
    """A file or folder that has not been inspected yet."""

    name: str
    path: Path
    place: str
    """The models folder or other location."""
    files: tuple[Path, ...]
    """Its files; cached results are valid until one of them changes."""


@system_errors()
def list_vaes(models: Sequence[Path] | None = None, progress: Progress = no_progress) -> Listing:
    """Inspect all VAEs; cached results are reused.

    Args:
        models: the models folders; None for those of `models_folders`.
        progress: called with the number of inspected files and the total.
    """
    folders = models_folders(models)
    default = None if exists(default_folder()) else default_folder()  # nothing was downloaded yet
    entries, troubles = scan_all(folders)
    names = names_of(entries)
    with ExitStack() as files:
        local = [
            *(FoundFile(entry.name, path, PACKAGE, (path,)) for entry, path in _packaged(files)),
            *(FoundFile(names[entry.path], entry.path, str(entry.home), entry.files) for entry in entries),
        ]
        facts_of = inspect_all(local, progress)
        present = {facts.get("catalog_entry") for facts in facts_of.values()}
        cached = [
            FoundFile(entry.name, path, HUB_CACHE, (path,))
            for entry in catalog_entries()
            if entry.name not in present and (path := cached_by_the_hub(entry.files[0])) is not None
        ]
        facts_of |= inspect_all(cached, progress)
        vaes = _listed([*local, *cached], facts_of)
    present |= {one.name for one in cached}
    return Listing(
        folders=folders,
        vaes=tuple(vaes),
        unusable=tuple(
            UnusableFile(one.name, one.path, facts_of[one.path]["error"], facts_of[one.path]["reason"])
            for one in local
            if "error" in facts_of.get(one.path, {})
        ),
        troubles=tuple(trouble for trouble in troubles if trouble.path != default),
        known=tuple(entry for entry in catalog_entries() if not entry.packaged and entry.name not in present),
    )


def inspect_all(candidates: Sequence[FoundFile], progress: Progress) -> dict[Path, Facts]:
    """The content of each file, by path; files that vanished meanwhile are omitted."""
    keys = {one.path: key for one in candidates if (key := _key(one))}
    known = recall(list(keys.values()))
    results = {path: known[key] for path, key in keys.items() if key in known}
    waiting = [one for one in candidates if one.path in keys and one.path not in results]
    fresh: dict[str, Facts] = {}
    since = time.monotonic()
    try:
        for done, one in enumerate(waiting):
            progress(done, len(waiting))
            results[one.path] = json.loads(json.dumps(inspect_file(one.path)))  # the same types as from the cache
            if _key(one) == keys[one.path]:  # unchanged during the inspection
                fresh[keys[one.path]] = results[one.path]
            if time.monotonic() - since > KEEP_EVERY:
                keep(fresh)
                fresh, since = {}, time.monotonic()
    finally:
        keep(fresh)
    return results


def inspect_file(path: Path) -> Facts:
    """The inspection of a file and the known VAE in it, JSON-compatible; or the error that it raises."""
    try:
        inspection = inspect(path, measure=False)
    except (VaekitError, OSError) as error:
        message = error.found if isinstance(error, VaekitError) else str(error)
        reason = message.replace(str(path), "this file" if path.is_file() else "this folder")
        return {"error": type(error).__name__, "reason": reason[:1].upper() + reason[1:]}
    facts, entry = dataclasses.asdict(inspection), inspection.catalog_entry
    for long in ("path", "config", "sketches"):
        del facts[long]
    return facts | {"catalog_entry": entry and entry.name, "fp16": entry.fp16 if entry else "unknown"}


def _packaged(files: ExitStack) -> list[tuple[CatalogEntry, Path]]:
    return [(entry, files.enter_context(locate_vae(entry.name))) for entry in catalog_entries() if entry.packaged]


def _listed(candidates: Sequence[FoundFile], facts_of: Mapping[Path, Facts]) -> list[ListedVAE]:
    """The files that are VAEs, with their duplicates."""
    usable = [one for one in candidates if "fingerprint" in facts_of.get(one.path, {})]
    alike: dict[object, list[str]] = defaultdict(list)
    known: dict[str, list[str]] = defaultdict(list)
    for one in usable:
        alike[facts_of[one.path]["fingerprint"] or one.path].append(one.name)
        if facts_of[one.path]["catalog_entry"]:
            known[facts_of[one.path]["catalog_entry"]].append(one.name)
    listed = []
    for one in usable:
        facts = facts_of[one.path]
        same = alike[facts["fingerprint"] or one.path]
        relatives = known[facts["catalog_entry"]] if facts["catalog_entry"] else []
        listed.append(
            ListedVAE(
                name=one.name,
                path=one.path,
                place=one.place,
                bytes=sum(file.stat().st_size for file in one.files if file.suffix.lower() in WEIGHTS_ENDINGS),
                facts=facts,
                duplicates=tuple(name for name in same if name != one.name),
                rounded=tuple(name for name in relatives if name not in same),
            )
        )
    return listed


def _key(candidate: FoundFile) -> str:
    """The cache key of a file; empty if it does not exist any more."""
    try:
        return " ".join(stamp(file, f"{QUESTION} {digest()}") for file in candidate.files)
    except OSError:
        return ""

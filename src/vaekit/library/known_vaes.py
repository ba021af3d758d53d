"""Find files of known VAEs by hash, in the models folders or in the Hub's cache."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from vaekit.catalog.entries import CatalogEntry, CatalogFile, catalog_entries, entry_named
from vaekit.errors import NotFound, VaekitError, did_you_mean, printable, shorten
from vaekit.identification.file_hashes import sha256_of
from vaekit.library.folders import LocalWeights
from vaekit.reading import exists


def known_file(name: str, local: Sequence[LocalWeights], folders: Sequence[Path]) -> Path:
    """The file of the known VAE of this name.

    Raises:
        NotFound: there is no such VAE, or it was not downloaded yet.
    """
    entry = entry_named(name)
    present = find_local(entry, local) if entry is not None else None
    if present is None:
        raise unknown_name(name, entry, local, folders)
    return present


def find_local(entry: CatalogEntry, local: Sequence[LocalWeights]) -> Path | None:
    """A file of a known VAE in the models folders, recognized by its hash, or in the Hub's cache."""
    match = find_among(entry, local)
    return match[0] if match is not None else cached_by_the_hub(entry.files[0])


def find_among(entry: CatalogEntry, local: Sequence[LocalWeights]) -> tuple[Path, CatalogFile] | None:
    """The first file in the models folders with the hash of one of an entry's files, under any name."""
    for weights in local:
        try:
            file = is_file_of(entry, weights.files[0])
        except (OSError, VaekitError):  # unreadable: not this one
            continue
        if file is not None:
            return weights.path, file
    return None


def cached_by_the_hub(file: CatalogFile) -> Path | None:
    """A file in the Hub's own cache, where diffusers puts downloads; only with the right hash."""
    if not file.repo:
        return None
    from huggingface_hub import try_to_load_from_cache  # slow import (0.2 s)

    try:
        cached = try_to_load_from_cache(file.repo, file.path)
    except (OSError, ValueError):  # not a valid repository name
        return None
    if not isinstance(cached, str) or not exists(Path(cached)):
        return None
    return Path(cached) if not file.sha256 or sha256_of(Path(cached)) == file.sha256 else None


def is_file_of(entry: CatalogEntry, path: Path) -> CatalogFile | None:
    """The catalog file with the hash of this file.

    Only candidates are read: files of the right size; if the entry has no size, of the right name.

    Raises:
        BadCheckpoint: the file cannot be read.
        OSError: the file does not exist.
    """
    size = path.stat().st_size

    def can_be(file: CatalogFile) -> bool:
        names = (PurePosixPath(file.path).name, entry.name + PurePosixPath(file.path).suffix)
        return bool(file.sha256) and (file.bytes == size if file.bytes else path.name in names)

    return next((file for file in entry.files if can_be(file) and sha256_of(path) == file.sha256), None)


def unknown_name(
    name: str, entry: CatalogEntry | None, local: Sequence[LocalWeights], folders: Sequence[Path]
) -> NotFound:
    """The error for an unknown name."""
    if entry is not None:
        return NotFound(
            f"{entry.name!r} is a known VAE ({entry.about}), but its file has not been downloaded yet.",
            "",
            f"`vaekit get {entry.name}` downloads it.",
        )
    if Path(name).name != name:
        return NotFound(f"There is no file or folder {printable(name)}.", "", "Check the path.")
    known = [known.name for known in catalog_entries()]
    here = [weights.stem for weights in local]
    likely = did_you_mean(name, [*known, *here])
    where = " or ".join(str(folder) for folder in folders)
    return NotFound(
        f"There is no VAE called {printable(name)!r}, and no file or folder of that name, here or in {where}.",
        f"Known names: {shorten(known)}.",
        f"{likely} `vaekit list --known` lists known VAEs; give a name, or the path to a VAE.".strip(),
    )

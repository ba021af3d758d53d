"""Download VAEs from the Hub into a models folder (`vaekit get`), with verification before the final rename."""

import dataclasses
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath

from vaekit.atomic import atomic_file, cannot_write, resumable_file
from vaekit.catalog.entries import CatalogEntry, CatalogFile
from vaekit.catalog.tables import packaged
from vaekit.errors import CannotFetch, CannotWrite, WrongHash
from vaekit.identification.file_hashes import remember_sha256, sha256_of
from vaekit.library.folders import class_in, folder_for_new, is_autoencoder, models_folders, scan_all
from vaekit.library.hub import Address, Progress, RemoteFile, look_up, receive
from vaekit.library.known_vaes import cached_by_the_hub, find_among
from vaekit.library.query import HubQuery, parse_query
from vaekit.reading import exists, real_path
from vaekit.user_dirs import cache_folder

DOWNLOADED, LINKED, COPIED = "downloaded", "linked from the Hub's cache", "copied from the Hub's cache"
PRESENT, PACKAGED = "already present", "part of the package"


@dataclass(frozen=True)
class Downloaded:
    """The result of `get`: a VAE that is available now."""

    name: str
    """The name that `--vae` and `load` accept."""
    path: Path
    sha256: str
    """The SHA-256 of the file; for a diffusers folder, of its weights."""
    bytes: int
    verified: bool
    """Whether several sources agree on the hash, or the caller specified it."""
    how: str
    """Whether it was downloaded now, and from where."""
    notes: tuple[str, ...] = ()
    """Warnings about the hash."""


@dataclass(frozen=True)
class _Order:
    """One file to download."""

    address: Address
    target: Path
    expected: str
    """The expected hash; empty if unknown."""


def no_progress(_done: int, _total: int) -> None:
    """Ignore progress."""


def get(
    what: str,
    models: Sequence[Path] | None = None,
    name: str = "",
    sha256: str = "",
    progress: Progress = no_progress,
) -> Downloaded:
    """Download a VAE into the first writable models folder, unless it is present.

    The file gets its final name when it is complete and has the right hash; until then it is hidden, and the next call
    with it. A file in the Hub's own cache is linked, not fetched again.

    Args:
        what: the name of a known VAE; "owner/name", "owner/name/file" or the URL of a file on the Hub.
        models: the models folders; see `models_folders` for where they are when this is None.
        name: of the result, instead of the entry's or the file's name.
        sha256: the expected hash, instead of the entry's.
        progress: called with the number of bytes received and the total.

    Raises:
        NotFound: `what` is not a valid name.
        CannotFetch: the Hub is unreachable, does not have it, or denies access.
        WrongHash: the file on the Hub, the download, or an existing file of this name has another hash.
        CannotWrite: no models folder is writable, or the disk is full.
    """
    query = parse_query(what)
    if sha256:
        catalog_file = CatalogFile(query.files[0].path, query.files[0].repo, sha256.lower(), verified=True)
        query = dataclasses.replace(query, expected=catalog_file, entry=None)
    folders = models_folders(models)
    if query.entry is not None:
        local_copy = _find_local(query.entry, folders)
        if local_copy is not None:
            return local_copy
    target = folder_for_new(folders) / ((name or query.name) + query.ending)
    with _locked(target):
        if query.folder:
            return _get_folder(query, target, progress)
        return _get_file(query, target, progress)


def _find_local(entry: CatalogEntry, folders: Sequence[Path]) -> Downloaded | None:
    """A known VAE inside the package, or in a models folder under any name."""
    if entry.packaged:
        with resources.as_file(packaged(entry.packaged)) as path:
            return Downloaded(entry.name, path, sha256_of(path), path.stat().st_size, True, PACKAGED)
    local, _ = scan_all(folders)
    match = find_among(entry, local)
    if match is None:
        return None
    path, file = match
    return Downloaded(
        entry.name, path, file.sha256, path.stat().st_size, file.verified, PRESENT, _notes(file, file.sha256)
    )


def _get_file(query: HubQuery, target: Path, progress: Progress) -> Downloaded:
    order = _Order(query.files[0], target, query.expected.sha256 if query.expected else "")
    how = PRESENT if exists(target) else _obtain(order, progress)
    digest = sha256_of(target)
    if order.expected and digest != order.expected:
        raise _conflict(order, digest)
    return _result(query, target, target, digest, how)


def _get_folder(query: HubQuery, target: Path, progress: Progress) -> Downloaded:
    """Download into a hidden folder that is renamed to `target` when complete."""
    weights_name = PurePosixPath(query.files[0].path).name
    expected = query.expected.sha256 if query.expected else ""
    if exists(target / weights_name):
        digest = sha256_of(target / weights_name)
        if expected and digest != expected:
            raise _conflict(_Order(query.files[0], target, expected), digest)
        return _result(query, target, target / weights_name, digest, PRESENT)
    if exists(target):
        raise CannotWrite(f"{target} already exists and is not this VAE.", "", "Choose another name with --as.")
    key = hashlib.sha256(repr(query.files).encode()).hexdigest()[:12]
    staging = target.with_name(f".{target.name[:40]}.{key}.part")
    how = PRESENT
    for address in reversed(query.files):  # the config first: it shows whether this is a VAE
        part = _Order(
            address, staging / PurePosixPath(address.path).name, expected if address == query.files[0] else ""
        )
        how = how if exists(part.target) else _obtain(part, progress)
        if part.target.name == "config.json" and not is_autoencoder(part.target):
            found_class = class_in(part.target) or "a model without a class name"
            shutil.rmtree(staging, ignore_errors=True)
            raise CannotFetch(f"{address} describes {found_class}.", "Expected a VAE.", "Give the folder of the VAE.")
    digest = sha256_of(staging / weights_name)
    try:
        os.replace(staging, target)
    except OSError as error:
        raise cannot_write(target, error) from error
    remember_sha256(target / weights_name, digest)
    return _result(query, target, target / weights_name, digest, how)


def _result(query: HubQuery, path: Path, weights: Path, digest: str, how: str) -> Downloaded:
    verified = query.expected is not None and query.expected.verified and digest == query.expected.sha256
    name = path.name.removesuffix(query.ending)
    return Downloaded(name, path, digest, weights.stat().st_size, verified, how, _notes(query.expected, digest))


def _notes(expected: CatalogFile | None, digest: str) -> tuple[str, ...]:
    if expected is None or not expected.sha256:
        return (f"The expected hash of this file is unknown. It has {digest}: compare it with the source.",)
    if not expected.verified:
        return ("The file has the expected hash, but only one source states that hash.",)
    return ()


def _obtain(order: _Order, progress: Progress) -> str:
    """Obtain one file, from the Hub's cache or the Hub; returns which."""
    cached = cached_by_the_hub(CatalogFile(order.address.path, order.address.repo, order.expected))
    if cached is not None and order.address.revision == "main":
        return _link(real_path(cached), order.target)
    remote = look_up(order.address)
    if order.expected and remote.sha256 and remote.sha256 != order.expected:
        raise WrongHash(
            f"The Hub now has a different file at {order.address}: its SHA-256 is {remote.sha256}.",
            f"Expected {order.expected}.",
            "Nothing was downloaded. If you trust it, pass its hash with --sha256.",
        )
    key = re.sub(r"\W", "", remote.tag)[:12] or remote.address.revision[:12]
    with resumable_file(order.target, key) as part:
        _check_free_space(part, remote)
        digest = receive(remote, part, progress)
        expected_hash = order.expected or remote.sha256
        if expected_hash and digest != expected_hash:
            part.unlink()
            raise WrongHash(
                f"The download of {order.address} has the SHA-256 {digest}.",
                f"Expected {expected_hash}.",
                "It was discarded. Try again; if this persists, do not trust this source.",
            )
    remember_sha256(order.target, digest)
    return DOWNLOADED


def _link(source: Path, target: Path) -> str:
    """Hard-link a file, or copy it if the file system cannot."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, target)
    except FileExistsError as error:
        raise cannot_write(target, error) from error
    except OSError:
        with atomic_file(target) as temporary:
            shutil.copyfile(source, temporary)
        return COPIED
    return LINKED


def _check_free_space(part: Path, remote: RemoteFile) -> None:
    missing, free = remote.bytes - part.stat().st_size, shutil.disk_usage(part.parent).free
    if missing > free:
        raise CannotWrite(
            f"The disk of {part.parent} has {free:,} bytes free; {remote.address} needs {missing:,} more.",
            "",
            "Free disk space, or give a models folder on another disk with --models.",
        )


def _conflict(order: _Order, digest: str) -> WrongHash:
    return WrongHash(
        f"{order.target} already exists and is a different file: its SHA-256 is {digest}.",
        f"Expected {order.expected}.",
        "Remove or rename it, or choose another name with --as.",
    )


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Keep two processes from writing the same file.

    Raises:
        CannotFetch: another process is downloading it.
    """
    from filelock import FileLock, Timeout

    name = hashlib.sha256(os.fsencode(target.absolute())).hexdigest()[:16]
    lock = FileLock(cache_folder() / "locks" / f"{name}.lock")
    try:
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise CannotFetch(
            f"Another vaekit process is downloading {target.name}.", "", "Wait until it has finished."
        ) from error
    except OSError:  # no cache folder: no lock
        pass
    try:
        yield
    finally:
        lock.release()

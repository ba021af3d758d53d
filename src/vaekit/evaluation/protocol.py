"""The protocol of an evaluation: everything that its values depend on.

Equal protocols give equal values: exactly on one machine with the same number of threads, otherwise up to rounding.
"""

import hashlib
import heapq
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vaekit.datasets.choose import rank
from vaekit.reading import ITEM, open_file
from vaekit.version import __version__

MODE, SAMPLE = "mode", "sample"
UNREADABLE = "unreadable"
"""Replaces the hash of a file that cannot be opened, or is too large for an item."""


@dataclass(frozen=True)
class Protocol:
    """VAE, data, settings and versions of an evaluation."""

    vae: str
    """The fingerprint of its weights."""
    data: str
    """The digest of all items: see `digest`."""
    items: int
    """The number of items, including those that cannot be read."""
    chosen: str
    """How the items were chosen from the data."""
    preparation: Mapping[str, Any]
    """The preparation of items before encoding, and of reconstructions before measuring."""
    latents: str
    """`mode` of the posterior (the mean of a Gaussian), or one `sample` of it."""
    seed: int
    """Of samples and subsets."""
    run: Mapping[str, Any]
    """How the VAE was run: dtype, backend, memory."""
    batch: int
    """The maximum batch size."""
    measures: Mapping[str, Mapping[str, Any]]
    """The measures with their settings."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """The versions of the libraries that values depend on."""

    def as_json(self) -> dict[str, Any]:
        """The protocol as plain values."""
        return asdict(self)


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The installed versions of packages, and of Python and vaekit."""
    installed = {"vaekit": __version__, "python": platform.python_version()}
    for package in packages:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    return installed


def digest(files: Mapping[str, Path]) -> str:
    """SHA-256 over the names and contents of files, in the given order.

    It is the hash of the output of `sha256sum`, with names sorted by bytes:

        find . -type f -name '*.png' -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum
    """
    hashed = hashlib.sha256()
    for name, path in files.items():
        hashed.update(f"{_content(path)}  {name}\n".encode("utf-8", "surrogateescape"))
    return hashed.hexdigest()


def _content(path: Path) -> str:
    """SHA-256 of a file, or `UNREADABLE`; a file that is too large for an item is not read."""
    try:
        with open_file(path) as file:
            if os.fstat(file.fileno()).st_size > ITEM:
                return UNREADABLE
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return UNREADABLE


def chosen_names(names: Sequence[str], limit: int | None, seed: int) -> list[str]:
    """A random subset of at most `limit` names, sorted: those with the smallest hashes of name and seed.

    The rank of a name does not depend on the other names, nor on a library's random generator.
    """
    if limit is None or limit >= len(names):
        return sorted(names)
    return sorted(heapq.nsmallest(limit, names, key=lambda name: rank(name, seed)))

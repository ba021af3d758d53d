"""The protocol of an evaluation: everything that its values depend on. Equal protocols give the same
values: exactly on one machine with the same number of threads, otherwise up to rounding."""

import hashlib
import heapq
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vaekit.datasets.choose import rank
from vaekit.version import __version__

MODE, SAMPLE = "mode", "sample"
UNREADABLE = "unreadable"
"""Stands in the digest for the hash of a file that cannot be opened."""


@dataclass(frozen=True)
class Protocol:
    """What was measured, and how."""

    vae: str
    """The fingerprint of its weights."""
    data: str
    """The digest of all items: see `digest`."""
    items: int
    """How many there are, in the order of their names; those that cannot be read are among them."""
    chosen: str
    """How they were chosen from what was there."""
    preparation: Mapping[str, Any]
    """What was done to an item before the VAE saw it, and to what came back before it was measured."""
    latents: str
    """`mode` of the posterior (of a Gaussian its mean), or one `sample` of it."""
    seed: int
    """Of samples and subsets."""
    run: Mapping[str, Any]
    """How the VAE was run: dtype, backend, memory."""
    batch: int
    """Items of one shape that go through at once."""
    measures: Mapping[str, Mapping[str, Any]]
    """What was measured, with what each measure depends on."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the libraries that compute."""

    def as_json(self) -> dict[str, Any]:
        """Plain values, as they are written."""
        return asdict(self)


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The installed versions of packages, and of Python and vaekit."""
    told = {"vaekit": __version__, "python": platform.python_version()}
    for package in packages:
        try:
            told[package] = version(package)
        except PackageNotFoundError:
            continue
    return told


def digest(files: Mapping[str, Path]) -> str:
    """One SHA-256 for the names and contents of files, in the order given.

    It is the hash of what `sha256sum` prints for them: in the folder, with names in the order of their bytes,

        find . -type f -name '*.png' -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum
    """
    whole = hashlib.sha256()
    for name, path in files.items():
        whole.update(f"{_content(path)}  {name}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


def _content(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return UNREADABLE


def chosen_names(names: Sequence[str], limit: int | None, seed: int) -> list[str]:
    """At most `limit` of the names: those whose hash with the seed is the smallest; sorted.

    A name's chance does not depend on the others, and no library's generator has a say in it.
    """
    if limit is None or limit >= len(names):
        return sorted(names)
    return sorted(heapq.nsmallest(limit, names, key=lambda name: rank(name, seed)))

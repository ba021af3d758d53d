"""SHA-256 hashes of whole files, cached."""

import hashlib
from pathlib import Path

from vaekit.cache import cached_result, keep, stamp
from vaekit.errors import BadCheckpoint, reason_of
from vaekit.reading import open_file

QUESTION = "sha256"


def sha256_of(path: Path) -> str:
    """The hash of a file in hexadecimal digits; cached until the file changes.

    Raises:
        BadCheckpoint: the file cannot be read.
    """

    def find() -> str:
        with open_file(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    try:
        return str(cached_result(path, QUESTION, find))
    except OSError as error:
        raise BadCheckpoint(f"{path} cannot be read: {reason_of(error)}.", "Expected a weights file.", "") from error


def remember_sha256(path: Path, digest: str) -> None:
    """Cache a hash that was computed while the file was written."""
    keep({stamp(path, QUESTION): digest})

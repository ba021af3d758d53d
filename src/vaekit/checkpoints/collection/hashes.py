"""The SHA-256 of whole files, computed once."""

import hashlib
from pathlib import Path

from vaekit.checkpoints.cards import Card, CardFile
from vaekit.checkpoints.remembered import keep, remembered, stamp
from vaekit.errors import BadCheckpoint

QUESTION = "sha256"


def sha256_of(path: Path) -> str:
    """The hash of a file in hexadecimal digits; remembered until the file changes.

    Raises:
        BadCheckpoint: the file cannot be read.
    """

    def find() -> str:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    try:
        return str(remembered(path, QUESTION, find))
    except OSError as error:
        raise BadCheckpoint(f"{path} cannot be read: {error.strerror}.", "Expected a weights file.", "") from error


def remember_sha256(path: Path, digest: str) -> None:
    """Keep a hash that was computed while the file was written."""
    keep({stamp(path, QUESTION): digest})


def is_file_of(card: Card, path: Path) -> CardFile | None:
    """The file of a card that this one is, by its hash. A file of another size is not read.

    Raises:
        BadCheckpoint: the file cannot be read.
        OSError: the file is not there.
    """
    size = path.stat().st_size
    alike = [file for file in card.files if file.sha256 and (file.bytes == size or not file.bytes)]
    return next((file for file in alike if sha256_of(path) == file.sha256), None)

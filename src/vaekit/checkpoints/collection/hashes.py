"""The SHA-256 of whole files, computed once."""

import hashlib
from pathlib import Path, PurePosixPath

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
    """The file of a card that this one is, by its hash.

    Only a file that can be it is read: one of the right size; where the card does not tell the size, one of the right
    name.

    Raises:
        BadCheckpoint: the file cannot be read.
        OSError: the file is not there.
    """
    size = path.stat().st_size

    def can_be(file: CardFile) -> bool:
        names = (PurePosixPath(file.path).name, card.name + PurePosixPath(file.path).suffix)
        return bool(file.sha256) and (file.bytes == size if file.bytes else path.name in names)

    return next((file for file in card.files if can_be(file) and sha256_of(path) == file.sha256), None)

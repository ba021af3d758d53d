"""Read text files: UTF-8, with or without a byte order mark."""

import hashlib
from pathlib import Path

from vaekit.errors import NoTrainingData, reason_of
from vaekit.reading import TABLE, read_bytes

BOM = b"\xef\xbb\xbf"


def is_text(start: bytes) -> bool:
    """Whether a file with these first bytes may be text: not empty, without NUL bytes."""
    return bool(start) and b"\0" not in start


def read_text(path: Path) -> tuple[str, str]:
    """The text of a file, and the SHA-256 of its bytes.

    Raises:
        NoTrainingData: the file is not UTF-8, cannot be read, or does not fit into memory.
    """
    try:
        content = read_bytes(path, TABLE)
        text = content.removeprefix(BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise NoTrainingData(f"Line {line:,} of {path} is not UTF-8 text.", "", "Save the file as UTF-8.") from error
    except (OSError, MemoryError) as error:
        raise NoTrainingData(
            f"{path} cannot be read: {reason_of(error)}.", "", "Check the file and its permissions, or split it."
        ) from error
    return text, hashlib.sha256(content).hexdigest()


def joint_digest(digests: list[str]) -> str:
    """The digest of several files; for a single file, its own digest."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()

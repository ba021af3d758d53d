"""Recognize text files, and their digests."""

import hashlib


def is_text(start: bytes) -> bool:
    """Whether a file with these first bytes may be text: not empty, without NUL bytes."""
    return bool(start) and b"\0" not in start


def joint_digest(digests: list[str]) -> str:
    """The digest of several files; for a single file, its own digest."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()

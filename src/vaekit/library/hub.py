"""Requests to the Hub: file metadata, file contents, repository listings.

huggingface_hub builds URLs and headers, manages the connection, classifies errors, and reads `HF_ENDPOINT`, `HF_TOKEN`,
`HF_HOME` and `HF_HUB_OFFLINE`. Its own download restarts from zero after an interruption (a new temporary file each
time, and up to 10 MB in memory), so the bytes are received here, into a file that the next attempt resumes.
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from vaekit.errors import CannotWrite
from vaekit.library.hub_errors import broken, download_errors, transport_errors
from vaekit.version import __version__

Progress = Callable[[int, int], None]
"""Called with the number of bytes received and the total (0 if unknown)."""
SHA256 = re.compile("[0-9a-f]{64}")
PIECE = 1 << 18
TRIES = 5
"""Consecutive connections without data before giving up."""
FIRST_WAIT = 0.5
"""Seconds before the second of these connections, doubled for each further one."""
TIMEOUT = 30.0
"""Seconds without data after which a connection counts as broken."""
PARTIAL_CONTENT, RANGE_NOT_SATISFIABLE = 206, 416


@dataclass(frozen=True)
class Address:
    """A file of a repository on the Hub."""

    repo: str
    path: str
    revision: str = "main"

    def __str__(self) -> str:
        return f"{self.repo}/{self.path}" if self.path else self.repo


@dataclass(frozen=True)
class RemoteFile:
    """The Hub's metadata of a file."""

    address: Address
    """The file at a fixed commit, so that it cannot change during the download."""
    bytes: int
    """0 if the Hub does not state it."""
    tag: str
    """The Hub's ETag; empty if it gives none."""

    @property
    def sha256(self) -> str:
        """The SHA-256 according to the Hub; empty for small files, whose ETag is another hash."""
        return self.tag if SHA256.fullmatch(self.tag) else ""


def look_up(address: Address) -> RemoteFile:
    """Request the metadata of a file from the Hub.

    Raises:
        CannotFetch: the Hub is unreachable, has no such file, or denies access.
    """
    from huggingface_hub import get_hf_file_metadata

    with download_errors(address.repo, address.path):
        info = get_hf_file_metadata(url_of(address), library_name="vaekit", library_version=__version__)
    pinned = Address(address.repo, address.path, info.commit_hash or address.revision)
    return RemoteFile(pinned, info.size or 0, info.etag or "")


def files_of(repo: str, revision: str) -> list[str]:
    """The paths of all files of a repository.

    Raises:
        CannotFetch: the Hub is unreachable, has no such repository, or denies access.
    """
    from huggingface_hub import HfApi

    with download_errors(repo, ""):
        info = HfApi(library_name="vaekit", library_version=__version__).model_info(repo, revision=revision)
    return [sibling.rfilename for sibling in info.siblings or []]


def url_of(address: Address) -> str:
    """The download URL of a file."""
    from huggingface_hub import hf_hub_url

    return hf_hub_url(address.repo, address.path, revision=address.revision)


def receive(remote: RemoteFile, part: Path, progress: Progress) -> str:
    """Download a file into `part`, resuming after the bytes that it has, over as many connections as needed.

    Args:
        remote: the file.
        part: an existing file, empty or with the start of the content.
        progress: called for each chunk.

    Returns:
        The SHA-256 of the complete `part`, in hexadecimal digits.

    Raises:
        CannotFetch: the Hub is unreachable or the connection broke; received data is kept in `part`.
        CannotWrite: the disk is full.
    """
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    address = remote.address
    with open(part, "r+b") as file, download_errors(address.repo, address.path):
        receiving = _Receiving(file, remote.bytes, progress)
        receiving.hash_existing()
        failures = 0
        while not receiving.complete:
            before = receiving.received
            try:
                receiving.resume(address)
            except transport_errors() as error:
                if isinstance(error, HfHubHTTPError | OfflineModeIsEnabled):
                    raise
                failures = 1 if receiving.received > before else failures + 1
                if failures == TRIES:
                    raise broken(str(address), receiving.received, receiving.total, error) from error
                time.sleep(FIRST_WAIT * 2 ** (failures - 1))
        return receiving.digest.hexdigest()


class _Receiving:
    """A partially downloaded file: its current size and hash."""

    def __init__(self, file: IO[bytes], total: int, progress: Progress) -> None:
        self.file = file
        self.total = total
        self.progress = progress
        self.digest = hashlib.sha256()
        self.received = 0
        self.ended = False

    @property
    def complete(self) -> bool:
        return self.received == self.total if self.total else self.ended

    def hash_existing(self) -> None:
        """Hash the existing bytes; if there are more than the whole file has, they are discarded."""
        if self.total and self.file.seek(0, 2) > self.total:
            self.restart()
        self.file.seek(0)
        while piece := self.file.read(PIECE):
            self.digest.update(piece)
            self.received += len(piece)

    def restart(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.digest, self.received = hashlib.sha256(), 0

    def resume(self, address: Address) -> None:
        """Receive the missing bytes over one connection.

        Raises:
            OSError, or an exception of the network library: the connection broke.
        """
        from huggingface_hub.utils import hf_raise_for_status

        with _opened(address, self.received) as (response, pieces):
            if self.received and response.status_code == RANGE_NOT_SATISFIABLE:
                self.restart()
                return
            hf_raise_for_status(response)
            if response.status_code != PARTIAL_CONTENT and self.received:  # no range support
                self.restart()
            length = _length(response.headers)
            if not self.total and length:
                self.total = self.received + length
            for piece in pieces:
                self.write(piece)
        self.ended = True
        if self.total and self.received < self.total:
            raise ConnectionError("the connection was closed early")
        if self.total and self.received > self.total:
            raise ConnectionError(f"received {self.received:,} bytes instead of {self.total:,}")

    def write(self, piece: bytes) -> None:
        try:
            self.file.write(piece)
            self.file.flush()
        except OSError as error:
            raise CannotWrite(
                f"Could not write {self.file.name}: {error.strerror or error}.",
                f"The file needs {self.total:,} bytes, of which {self.received:,} were received." if self.total else "",
                "Free disk space or give another models folder with --models, then run the command again.",
            ) from error
        self.digest.update(piece)
        self.received += len(piece)
        self.progress(self.received, self.total)


@contextmanager
def _opened(address: Address, start: int) -> Iterator[tuple[Any, Iterable[bytes]]]:
    """The response to a range request for a file, and an iterator over its chunks."""
    from huggingface_hub.utils import build_hf_headers, get_session

    headers = build_hf_headers(library_name="vaekit", library_version=__version__) | {"accept-encoding": "identity"}
    if start:
        headers["range"] = f"bytes={start}-"
    session: Any = get_session()
    if callable(session.stream):  # httpx, since huggingface_hub 1
        with session.stream("GET", url_of(address), headers=headers, timeout=TIMEOUT) as response:
            yield response, response.iter_bytes()
    else:
        with session.get(url_of(address), headers=headers, timeout=TIMEOUT, stream=True) as response:
            yield response, response.iter_content(PIECE)


def _length(headers: Mapping[str, str]) -> int:
    length = headers.get("content-length", "")
    return int(length) if length.isdecimal() else 0

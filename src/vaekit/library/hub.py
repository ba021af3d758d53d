"""What is asked of the Hub: what a file is, its bytes, what a repository holds.

huggingface_hub builds addresses and headers, keeps the connection, names refusals, and reads `HF_ENDPOINT`, `HF_TOKEN`,
`HF_HOME` and `HF_HUB_OFFLINE`. Its own download starts from nothing after an interruption (a new temporary file each
time, and up to 10 MB in memory), so the bytes are received here, into a file that the next try goes on with.
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
"""Told how many bytes are there, and how many there will be (0 where nobody knows)."""
SHA256 = re.compile("[0-9a-f]{64}")
PIECE = 1 << 18
TRIES = 5
"""Connections in a row that bring nothing before we give up."""
FIRST_WAIT = 0.5
"""Seconds before the second of these connections; each further one waits twice as long."""
TIMEOUT = 30.0
"""Seconds of silence after which a connection counts as broken."""
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
    """What the Hub says of a file before it is fetched."""

    address: Address
    """With the commit as its revision, so that the file cannot change in between."""
    bytes: int
    """0 where the Hub does not say."""
    tag: str
    """The Hub's name for this content; empty where it gives none."""

    @property
    def sha256(self) -> str:
        """The hash that the Hub announces; empty for small files, which it names in another way."""
        return self.tag if SHA256.fullmatch(self.tag) else ""


def look_up(address: Address) -> RemoteFile:
    """Ask the Hub about a file.

    Raises:
        CannotFetch: it cannot be reached, has no such file, or does not let us have it.
    """
    from huggingface_hub import get_hf_file_metadata

    with download_errors(address.repo, address.path):
        told = get_hf_file_metadata(url_of(address), library_name="vaekit", library_version=__version__)
    pinned = Address(address.repo, address.path, told.commit_hash or address.revision)
    return RemoteFile(pinned, told.size or 0, told.etag or "")


def files_of(repo: str, revision: str) -> list[str]:
    """The paths of all files of a repository.

    Raises:
        CannotFetch: the Hub cannot be reached, has no such repository, or does not let us look.
    """
    from huggingface_hub import HfApi

    with download_errors(repo, ""):
        told = HfApi(library_name="vaekit", library_version=__version__).model_info(repo, revision=revision)
    return [sibling.rfilename for sibling in told.siblings or []]


def url_of(address: Address) -> str:
    """Where a file is."""
    from huggingface_hub import hf_hub_url

    return hf_hub_url(address.repo, address.path, revision=address.revision)


def receive(remote: RemoteFile, part: Path, progress: Progress) -> str:
    """Receive a file into `part`, going on after the bytes that it has, over as many connections as it takes.

    Args:
        remote: the file.
        part: where the bytes go; it is there already, empty or with the start of the file.
        progress: told at each piece.

    Returns:
        The SHA-256 of all that is in `part` now, in hexadecimal digits.

    Raises:
        CannotFetch: the Hub cannot be reached or the connection broke; what came is kept in `part`.
        CannotWrite: the disk is full.
    """
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    address = remote.address
    with open(part, "r+b") as file, download_errors(address.repo, address.path):
        receiving = _Receiving(file, remote.bytes, progress)
        receiving.take_over()
        failures = 0
        while not receiving.complete:
            before = receiving.have
            try:
                receiving.go_on(address)
            except transport_errors() as error:
                if isinstance(error, HfHubHTTPError | OfflineModeIsEnabled):
                    raise
                failures = 1 if receiving.have > before else failures + 1
                if failures == TRIES:
                    raise broken(str(address), receiving.have, receiving.total, error) from error
                time.sleep(FIRST_WAIT * 2 ** (failures - 1))
        return receiving.digest.hexdigest()


class _Receiving:
    """A file while it is written: how much is there, and the hash of it."""

    def __init__(self, file: IO[bytes], total: int, progress: Progress) -> None:
        self.file = file
        self.total = total
        self.progress = progress
        self.digest = hashlib.sha256()
        self.have = 0
        self.ended = False

    @property
    def complete(self) -> bool:
        return self.have == self.total if self.total else self.ended

    def take_over(self) -> None:
        """Hash what is there; more than the whole file cannot be its start and is thrown away."""
        if self.total and self.file.seek(0, 2) > self.total:
            self.restart()
        self.file.seek(0)
        while piece := self.file.read(PIECE):
            self.digest.update(piece)
            self.have += len(piece)

    def restart(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.digest, self.have = hashlib.sha256(), 0

    def go_on(self, address: Address) -> None:
        """Receive what is missing over one connection.

        Raises:
            OSError, or what the network library has: the connection broke.
        """
        from huggingface_hub.utils import hf_raise_for_status

        with _opened(address, self.have) as (response, pieces):
            if self.have and response.status_code == RANGE_NOT_SATISFIABLE:
                self.restart()
                return
            hf_raise_for_status(response)
            if response.status_code != PARTIAL_CONTENT and self.have:  # a server without ranges sends all again
                self.restart()
            length = _length(response.headers)
            if not self.total and length:
                self.total = self.have + length
            for piece in pieces:
                self.write(piece)
        self.ended = True
        if self.total and self.have < self.total:
            raise ConnectionError("the connection was closed early")
        if self.total and self.have > self.total:
            raise ConnectionError(f"{self.have:,} bytes came instead of {self.total:,}")

    def write(self, piece: bytes) -> None:
        try:
            self.file.write(piece)
            self.file.flush()
        except OSError as error:
            raise CannotWrite(
                f"Could not write {self.file.name}: {error.strerror or error}.",
                f"The file needs {self.total:,} bytes, of which {self.have:,} came." if self.total else "",
                "Make room on the disk or name another models folder with --models, then run the command again.",
            ) from error
        self.digest.update(piece)
        self.have += len(piece)
        self.progress(self.have, self.total)


@contextmanager
def _opened(address: Address, start: int) -> Iterator[tuple[Any, Iterable[bytes]]]:
    """The Hub's answer to a request for a file from a byte on, and its pieces as they come."""
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
    told = headers.get("content-length", "")
    return int(told) if told.isdecimal() else 0

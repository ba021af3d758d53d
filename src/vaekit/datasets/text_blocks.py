"""Read text files block by block: UTF-8, UTF-16 and Windows-1252, gzipped or not."""

import codecs
import gzip
import hashlib
import io
import os
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Self, cast

from vaekit.errors import NoTrainingData, printable, reason_of
from vaekit.reading import open_file

BLOCK = 2**20
"""Bytes that are read at a time."""
LONGEST_LINE = 2**24
"""The maximum number of characters of a line."""
GZIP = b"\x1f\x8b"
BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
NO_UTF8 = re.compile("[\udc80-\udcff]")
"""Bytes that are not UTF-8, as `surrogateescape` decodes them."""
BINARY = re.compile("[\0-\x08\x0e-\x19\x1b-\x1f]")
"""Control characters that text files do not contain."""
START = 512
"""Characters that tell text from binary files."""
SHARE_OF_CONTROLS = 0.05
"""Of these characters, above which a file with bytes that are not UTF-8 is binary."""
SHARE_OF_NULS = 0.7
"""Of every second byte, from which on text without a byte order mark is UTF-16."""


class TextBlocks:
    """A text file, read in blocks of whole lines. Bytes that are not UTF-8 are read as Windows-1252.

    Args:
        path: the file.
        say: called with a message if some bytes are not UTF-8.
        expected: a sentence for messages.
        hashed: whether to compute the digest of the content.
        limit: the maximum number of bytes of the content.
        longest: the maximum number of characters of a line.

    Raises:
        NoTrainingData: it cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        say: Callable[[str], None],
        expected: str,
        hashed: bool = False,
        limit: int | None = None,
        longest: int = LONGEST_LINE,
    ) -> None:
        self.path, self.say, self.expected, self.limit, self.longest = path, say, expected, limit, longest
        self._count = 0
        self._hash = hashlib.sha256() if hashed else None
        self._lines = 0
        self._said = False
        try:
            self._file = open_file(path)
        except OSError as error:
            raise self._refused(error) from error
        self._size = os.fstat(self._file.fileno()).st_size
        zipped = self._file.peek(len(GZIP)).startswith(GZIP)
        self._content = cast(BinaryIO, gzip.GzipFile(fileobj=self._file)) if zipped else self._file

    @property
    def digest(self) -> str:
        """SHA-256 of the content that has been read."""
        assert self._hash is not None
        return self._hash.hexdigest()

    @property
    def fraction(self) -> float:
        """The share of the file that has been read."""
        return min(self._file.tell() / self._size, 1.0) if self._size and not self._file.closed else 1.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self) -> Iterator[str]:
        """Blocks that end with line ends, except for the last one.

        Raises:
            NoTrainingData: the file cannot be read, or is not text.
        """
        content = self._bytes()
        encoding, mark = encoding_of(content)
        decoder = codecs.getincrementaldecoder(encoding)("surrogateescape" if encoding == "utf-8" else "strict")
        text, is_first = self._decoded(decoder, content[mark:], True), False
        while content:
            cut = max(text.rfind("\n"), text.rfind("\r", 0, len(text) - 1)) + 1
            self._lines += text.count("\n", 0, cut)
            if len(text) - cut > self.longest:
                raise NoTrainingData(
                    f"Line {self._lines + 1:,} of {self.path} has more than {self.longest:,} characters.",
                    self.expected,
                    "Check that this is the file that is meant.",
                )
            if cut:
                yield text[:cut]
            content = self._bytes()
            text = text[cut:] + self._decoded(decoder, content, is_first)
        if text:
            yield text

    def _bytes(self) -> bytes:
        try:
            content = self._content.read(BLOCK)
        except (OSError, EOFError, zlib.error, MemoryError) as error:
            raise self._refused(error) from error
        self._count += len(content)
        if self.limit is not None and self._count > self.limit:
            raise NoTrainingData(
                f"{self.path} has more than {self.limit:,} bytes of text.", self.expected, "Split the file."
            )
        if self._hash is not None:
            self._hash.update(content)
        return content

    def _decoded(self, decoder: codecs.IncrementalDecoder, content: bytes, is_first: bool) -> str:
        try:
            text = decoder.decode(content, final=not content)
        except UnicodeError as error:
            raise NoTrainingData(
                f"{self.path} is not valid UTF-16 text after line {self._lines:,}.", self.expected, "Save it as UTF-8."
            ) from error
        if text.isascii() or NO_UTF8.search(text) is None:
            return text
        if is_first and is_binary(text[:START]):
            raise NoTrainingData(f"{self.path} is not a text file.", self.expected, "Check the path.")
        if not self._said:
            self._said = True
            self.say(f"{self.path} has bytes that are not UTF-8. They are read as Windows-1252.")
        return NO_UTF8.sub(windows_1252, text)

    def _refused(self, error: Exception) -> NoTrainingData:
        return NoTrainingData(
            f"{self.path} cannot be read: {printable(reason_of(error))}.",
            self.expected,
            "Check the file and its permissions.",
        )


def encoding_of(start: bytes) -> tuple[str, int]:
    """The encoding of a file with this beginning, and the number of bytes of its byte order mark."""
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if start.startswith(mark):
            return encoding, len(mark)
    even, odd, half = start[::2].count(0), start[1::2].count(0), len(start) // 2
    if min(even, odd) == 0 and max(even, odd) > SHARE_OF_NULS * half:
        return ("utf-16-le" if odd else "utf-16-be"), 0
    return "utf-8", 0


def is_binary(start: str) -> bool:
    """Whether the beginning of a file with bytes that are not UTF-8 is that of a binary file."""
    return len(BINARY.findall(start)) > SHARE_OF_CONTROLS * len(start)


def windows_1252(match: re.Match[str]) -> str:
    """A byte as a character of Windows-1252, or of Latin-1 if it has none."""
    byte = ord(match[0]) - 0xDC00
    return bytes([byte]).decode("cp1252", "ignore") or chr(byte)


def first_line(text: str) -> str:
    """The first line that is not empty."""
    return next((line.rstrip("\r\n") for line in io.StringIO(text, newline="") if line.strip("\r\n")), "")

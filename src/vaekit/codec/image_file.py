"""The file of one image with a few losses: a header of 27 bytes, and the words of the entropy coder."""

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vaekit.codec.hyper_coding import CodedLatents
from vaekit.codec.sections import damaged
from vaekit.errors import BadArchive, CannotRead, NotFound, reason_of
from vaekit.reading import open_file

MAGIC = b"\x8aVKI"
VERSION = 1
HEADER = struct.Struct("<4sB8sHHhII")
"""Magic number, version, the first bytes of the VAE's fingerprint, columns, rows, the step's code, the CRC-32 of all
decoded integers, and the CRC-32 of everything else in the file."""
FINGERPRINT_BYTES = 8
LARGEST_SIDE = 2**16 - 1
LARGEST_IMAGE = 2**28
"""The maximum number of pixels of an image."""
LARGEST = 2**30
"""The maximum number of bytes of a file."""


@dataclass(frozen=True, eq=False)
class ImageFile:
    """What a file holds."""

    fingerprint: str
    """The first 16 hexadecimal digits of that of the VAE."""
    size: tuple[int, int]
    """Rows and columns of the image."""
    step_code: int
    """The binary logarithm of the step, in 64ths."""
    coded: CodedLatents

    def to_bytes(self) -> bytes:
        """The bytes of the file."""
        height, width = self.size
        words = self.coded.words.astype("<u4").tobytes()
        fingerprint = bytes.fromhex(self.fingerprint)
        facts = (MAGIC, VERSION, fingerprint, width, height, self.step_code, self.coded.checksum)
        checksum = zlib.crc32(words, zlib.crc32(HEADER.pack(*facts, 0)))
        return HEADER.pack(*facts, checksum) + words


def read_image_file(path: Path) -> ImageFile:
    """Read a file.

    Raises:
        NotFound, CannotRead: it is missing, or cannot be read.
        BadArchive: it is damaged, or no such file.
    """
    return image_file_from(_bytes_of(path, LARGEST + 1), path.name)


def is_image_file(path: Path) -> bool:
    """Whether a file begins as these files do.

    Raises:
        NotFound, CannotRead: it is missing, or cannot be read.
    """
    return _bytes_of(path, len(MAGIC)) == MAGIC


def image_file_from(content: bytes, name: str) -> ImageFile:
    """What the bytes of a file hold.

    Args:
        content: all bytes.
        name: of the file, for messages.

    Raises:
        BadArchive: it is damaged, or no such file.
    """
    if content[: len(MAGIC)] != MAGIC:
        raise BadArchive(
            f"{name} is not an image that vaekit has compressed.", "Expected a file of `vaekit compress`.", ""
        )
    if len(content) < HEADER.size or len(content) > LARGEST or (len(content) - HEADER.size) % 4:
        raise damaged(Path(name), "it is truncated, or too large")
    magic, version, fingerprint, width, height, step_code, integers, checksum = HEADER.unpack_from(content)
    if version != VERSION:
        raise BadArchive(
            f"{name} has version {version}.",
            f"This version of vaekit reads version {VERSION}.",
            "Install a newer version of vaekit.",
        )
    words = content[HEADER.size :]
    facts = (magic, version, fingerprint, width, height, step_code, integers, 0)
    if zlib.crc32(words, zlib.crc32(HEADER.pack(*facts))) != checksum:
        raise damaged(Path(name), "a checksum is wrong")
    if not width or not height or width * height > LARGEST_IMAGE:
        raise damaged(Path(name), f"it claims {width}x{height} pixels")
    coded = CodedLatents(np.frombuffer(words, "<u4").astype(np.uint32), integers)
    return ImageFile(fingerprint.hex(), (height, width), step_code, coded)


def _bytes_of(path: Path, most: int) -> bytes:
    try:
        with open_file(path) as file:
            return file.read(most)
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {path}.", "Expected a compressed file.", "") from error
    except OSError as error:
        raise CannotRead(f"{path.name} cannot be read: {reason_of(error)}.", "", "") from error

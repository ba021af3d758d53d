"""Count the scans of a JPEG before it is decoded.

Decoding takes as long for each scan as for a whole image, and a scan may take a dozen bytes: 85 KB of 5,000 scans keep
a decoder busy for half a minute. Encoders write up to a dozen; libtiff has the same limit for JPEGs in TIFF files.
"""

import re
from typing import Any

from vaekit.reading import CHUNK

MOST_SCANS = 100
"""The maximum number of scans; an image with more is refused."""
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
WITHOUT_LENGTH = (0x01, 0xD8)
"""Markers besides the end that have no segment."""
MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
"""A marker that neither is part of coded data nor restarts it."""


class TooManyScans(ValueError):
    """A JPEG that is refused."""


def refuse_many_scans(file: Any) -> None:
    """Check the number of scans of the JPEG in a binary file, whose position is not changed.

    Raises:
        TooManyScans: there are more than `MOST_SCANS`.
    """
    position = file.tell()
    try:
        if possible_scans(file) > MOST_SCANS:
            file.seek(0)
            count = scans_of(file.read())
            if count > MOST_SCANS:
                raise TooManyScans(f"{count:,} scans")
    finally:
        file.seek(position)


def possible_scans(file: Any) -> int:
    """How often the marker of a scan occurs anywhere in a file, also inside other data: no fewer than the scans."""
    file.seek(0)
    count, last = 0, b""
    while part := file.read(CHUNK):
        count += (last + part).count(bytes((0xFF, START_OF_SCAN)))
        last = part[-1:]
    return count


def scans_of(content: bytes) -> int:
    """The number of scans of the first image in a JPEG file."""
    position, count = 2, 0
    while (marker := MARKER.search(content, position)) is not None and marker[1][0] != END_OF_IMAGE:
        position = marker.end()
        code = marker[1][0]
        if code not in WITHOUT_LENGTH:
            position += max(int.from_bytes(content[position : position + 2]), 2)
        count += code == START_OF_SCAN
    return count

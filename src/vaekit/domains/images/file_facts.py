"""Read the metadata of image files: EXIF, resolution, number of frames; without warnings of Pillow."""

import math
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image
from PIL.ExifTags import IFD, Base
from PIL.ImageFile import ImageFile

DESCRIPTIVE_TAGS = (
    *(Base.ImageDescription, Base.Make, Base.Model, Base.Software, Base.DateTime, Base.Artist, Base.Copyright),
    *(Base.XPTitle, Base.XPComment, Base.XPAuthor, Base.XPKeywords, Base.XPSubject),
)
"""EXIF tags that describe the scene. Others (sizes, strips, orientation) describe the old file and would be wrong."""

# Maker notes point to places in the old file; the sizes and the color space are those of the old file.
STALE_EXIF_TAGS = frozenset(
    {Base.MakerNote, Base.ExifImageWidth, Base.ExifImageHeight, Base.ColorSpace, Base.ExifInteroperabilityOffset}
)

LONGEST_EXIF = 65_533
"""The maximum number of bytes in one segment of a JPEG."""

MOST_FRAMES = 1000
"""The maximum number of frames of a TIFF that are counted."""
COUNTED = 2**24
"""The maximum size in bytes of a GIF whose frames are counted: each takes at least 15."""
_filters = threading.Lock()


@contextmanager
def without_warnings() -> Iterator[None]:
    """Keep Pillow's warnings (large image, corrupt EXIF) from the terminal: each has its error or note here.

    The filters are those of the whole interpreter, and two threads that change them at once would leave them changed.
    """
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def exif_worth_keeping(image: Image.Image, notes: list[str]) -> bytes | None:
    """The EXIF block with only the tags that describe the scene; None if there are none."""
    try:
        block = _rebuilt(image.getexif())
    except Exception:  # broken EXIF fails in as many ways as broken images
        notes.append("broken EXIF data left out")
        return None
    if block is not None and len(block) > LONGEST_EXIF:
        notes.append("EXIF data left out: too long")
        return None
    return block


def _rebuilt(exif: Image.Exif) -> bytes | None:
    kept = Image.Exif()
    for tag in DESCRIPTIVE_TAGS:
        if tag in exif:
            kept[tag] = exif[tag]
    for place in (IFD.Exif, IFD.GPSInfo):
        entries = {tag: value for tag, value in exif.get_ifd(place).items() if tag not in STALE_EXIF_TAGS}
        if entries:
            kept[place] = entries
    return kept.tobytes() if len(kept) else None


def note_frames(image: Image.Image, notes: list[str]) -> None:
    """Note that there are further frames. It moves to another frame: call it last."""
    try:
        frames = _frames_of(image)
    except Exception:  # frames behind a good one may be damaged; they are not read
        notes.append("first of several frames")
        return
    if image.format == "TIFF" and frames > MOST_FRAMES:
        notes.append(f"first of more than {MOST_FRAMES} frames")
    elif frames > 1:
        notes.append(f"first of {frames} frames")


def _frames_of(image: Image.Image) -> int:
    """The number of frames; of a TIFF no more than `MOST_FRAMES` + 1, as counting takes the square of their time.

    Raises:
        ValueError: there are several, in a file so large that they are not counted.
    """
    animated = getattr(image, "is_animated", False)
    if image.format == "TIFF" and animated:
        return _pages_of(image)
    if image.format == "GIF" and animated and _size_of(image) > COUNTED:
        raise ValueError("counting takes too long")
    return int(getattr(image, "n_frames", 1))


def _size_of(image: Image.Image) -> int:
    """The size of an image's file in bytes; 0 if it is closed."""
    file = image.fp if isinstance(image, ImageFile) else None
    return 0 if file is None else file.seek(0, os.SEEK_END)


def _pages_of(image: Image.Image) -> int:
    """The number of pages of a TIFF, but no more than `MOST_FRAMES` + 1."""
    for number in range(1, MOST_FRAMES + 1):
        try:
            image.seek(number)  # page by page: Pillow takes the last page for a requested one beyond it
        except EOFError:
            return number
    return MOST_FRAMES + 1


def dpi_of(image: Image.Image, sideways: bool) -> tuple[float, float] | None:
    """Dots per inch, horizontally and vertically in the upright image; None if the file does not state it."""
    try:
        across, down = (float(value) for value in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    # Files without a resolution state 0 or 1.
    if not (1 < across < math.inf and 1 < down < math.inf):
        return None
    return (down, across) if sideways else (across, down)

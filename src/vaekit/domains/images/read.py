"""Read image files as tensors.

Size, orientation, transparency, bit depth and color profile are handled here, in this order, and nowhere else. The
format of a file is decided by its content, not by its name. Without a color profile, values are sRGB; the gamma and
chromaticity chunks of PNG are ignored.
"""

import errno
import io
import stat
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base
from PIL.ImageFile import ImageFile
from torch import Tensor

from vaekit.datasets.read_errors import read_error
from vaekit.domains.files import files_among, not_found
from vaekit.domains.images.colors import colors_and_alpha
from vaekit.domains.images.file_facts import dpi_of, exif_worth_keeping, note_frames, without_warnings
from vaekit.domains.images.jpeg_scans import MOST_SCANS, TooManyScans, refuse_many_scans
from vaekit.errors import BadItem, VaekitError, counted, printable
from vaekit.geometry import Geometry
from vaekit.metrics.image.color import luma
from vaekit.reading import ITEM, open_file
from vaekit.runtime.memory import format_bytes, free_memory
from vaekit.shapes import Images

LARGEST_IMAGE = 178_956_970
"""In pixels. Larger images are refused before they are decoded, at the same limit as in Pillow."""

READING = 24
"""The maximum number of bytes per pixel for reading an image: its values as floats, and 8-bit copies."""
DECODING = 12
"""The same for an image whose values stay in 8 bits."""
ALWAYS_FITS = 2**22
"""Pixels of an image that is read without asking how much memory is free."""

IMAGE_ENDINGS = frozenset(
    (
        *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".avif", ".gif", ".tif", ".tiff"),
        *(".bmp", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".qoi"),
    )
)
"""The suffixes of image files in folders, lower case."""

# Without EPS, which would start Ghostscript, and formats without a signature, which accept any bytes.
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "JPEG2000", "PPM", "QOI")

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> the transposition that undoes it (EXIF 2.32, tag 0x0112)."""
FIRST_SIDEWAYS = 5
"""Orientations from this on exchange rows and columns."""

RGBA = 4
"""Channels of an image with transparency."""
COLORS = {1: "L", 3: "RGB", RGBA: "RGBA"}
"""Pillow's mode by number of channels."""
REDUCED = "colors reduced to gray: this VAE takes one channel"


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """An image that was read.

    Attributes:
        pixels: (1, 3, h, w), float32, sRGB encoding, range [-1, 1].
        alpha: (1, 1, h, w), float32, range [0, 1], 0 is transparent; None for an opaque image. Colors are
            not premultiplied, and not composited: transparent pixels have the colors of the file.
        notes: changes to the values of the file, for the user; empty for a plain sRGB image.
        icc: whether the file has a color profile, even a damaged one.
        exif: the EXIF block with the tags that describe the scene (date, camera, location), without orientation,
            thumbnail and maker notes; None if there is none.
        dpi: dots per inch, horizontally and vertically in the upright image; None if the file has none.
    """

    pixels: Tensor
    alpha: Tensor | None = None
    notes: tuple[str, ...] = ()
    icc: bool = False
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None

    @property
    def height(self) -> int:
        """Rows of the upright image."""
        return self.pixels.shape[-2]

    @property
    def width(self) -> int:
        """Columns of the upright image."""
        return self.pixels.shape[-1]


def accept(_height: int, _width: int) -> None:
    """Accept an image of any size."""


def read_image(path: Path, check: Callable[[int, int], None] = accept) -> LoadedImage:
    """Read an image: upright, in sRGB, as (1, 3, h, w) in [-1, 1], with its alpha channel.

    - 8-bit values v become v / 127.5 - 1. 16-bit gray keeps its precision; 16-bit colors are read with 8 bits.
    - 32-bit integer gray ranges from 0 (black) to 65535 (white), floating-point gray from 0 to 1. Values
      outside are rescaled so that the smallest is black and the largest white. Non-finite values become the darkest.
    - A color profile is converted to sRGB, relative colorimetric with black point compensation; a damaged
      profile, or one for another color mode, is ignored. CMYK without a profile becomes (1 - c)(1 - k).
    - Of animations and multi-page files, the first frame is read.

    Each of these changes is recorded in `LoadedImage.notes`.

    Args:
        path: the file.
        check: called with the rows and columns of the header before pixels are decoded. Its exceptions propagate.

    Raises:
        NotFound: there is no such file.
        BadItem: it is a folder, empty, not an image, damaged, larger than `LARGEST_IMAGE` pixels or the free memory, or
            not readable.
    """
    refuse_non_files(path)
    try:
        with open_file(path) as file, opened(file) as image:
            return _image(image, path, check)
    except VaekitError:
        raise
    # On hostile bytes Pillow raises nearly everything: OSError, SyntaxError, struct.error, zlib.error, MemoryError, ...
    except Exception as error:
        raise unreadable(path, error) from error


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The images among paths and in folders; see `files_among`."""
    return files_among(paths, IMAGE_ENDINGS, "images")


def for_vae(image: LoadedImage, geometry: Geometry) -> tuple[Images, tuple[str, ...]]:
    """An image's pixels (1, c, h, w) in [-1, 1] for a VAE of this geometry, and notes on how they were changed.

    Raises:
        BadItem: the VAE takes no images, or images of other channels than files have.
    """
    check_takes_images(geometry)
    return with_channels(image, geometry.channels)


def check_takes_images(geometry: Geometry) -> None:
    """Check that a VAE takes images as files have them.

    Raises:
        BadItem: it takes other items, or images of other channels.
    """
    geometry.require_axes(2, "images")
    if geometry.channels not in COLORS:
        raise BadItem(
            f"This VAE takes images of {counted(geometry.channels, 'channel')}.",
            f"Image files have {', '.join(map(str, COLORS))} channels.",
            "Run it in Python: `vaekit.load` opens it, and `vaekit.Engine` takes tensors of any channels.",
        )


def with_channels(image: LoadedImage, channels: int) -> tuple[Images, tuple[str, ...]]:
    """An image's pixels (1, c, h, w) in [-1, 1], and notes on how they were changed.

    One channel is luma, or the values of a gray image. Four are RGBA, opaque if the image has no alpha channel. For any
    other number, the three channels are returned.
    """
    pixels = image.pixels
    if channels == RGBA:
        alpha = torch.ones_like(pixels[:, :1]) if image.alpha is None else image.alpha.to(pixels)
        return torch.cat([pixels, alpha * 2 - 1], dim=1), image.notes
    if channels != 1:
        return pixels, image.notes
    if torch.equal(pixels, pixels[:, :1].expand_as(pixels)):
        return pixels[:, :1], image.notes
    return luma(pixels)[:, None], (*image.notes, REDUCED)


def refuse_non_files(path: Path) -> None:
    """Refuse a path that is not a regular file, or an empty one, as `read_image` does."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a NUL in the name
        raise not_found(path) from error
    except OSError as error:
        raise unreadable(path, error) from error
    if stat.S_ISDIR(status.st_mode):
        raise BadItem(f"{path} is a folder.", "Expected an image file.", "Name an image inside it.")
    if not stat.S_ISREG(status.st_mode):
        raise BadItem(f"{path} is not a regular file.", "Expected an image file.", "Copy it to a file first.")
    if status.st_size > ITEM:
        raise BadItem(
            f"{path} has {status.st_size:,} bytes.",
            f"Image files of up to {ITEM:,} bytes can be read.",
            "Save it in a compressed format, or cut it into pieces.",
        )
    if status.st_size == 0:
        raise BadItem(f"{path} is empty: it has 0 bytes.", "Expected an image.", "Copy or download the file again.")


def read_image_bytes(
    content: io.BytesIO, name: str, formats: Sequence[str] = FORMATS, check: Callable[[int, int], None] = accept
) -> LoadedImage:
    """Read an image in memory; see `read_image`.

    Args:
        content: the bytes of its file.
        name: for messages.
        formats: Pillow's names of the accepted ones, among `FORMATS`.
        check: see `read_image`.

    Raises:
        BadItem: it is not an image of these formats, damaged, or larger than `LARGEST_IMAGE` pixels or the free memory.
    """
    path = Path(name)
    try:
        with opened(content, formats) as image:
            return _image(image, path, check)
    except VaekitError:
        raise
    except Exception as error:  # see `read_image`
        raise unreadable(path, error, formats) from error


def opened(file: io.BufferedReader | io.BytesIO, formats: Sequence[str] = FORMATS) -> Image.Image:
    """Open an image in a file or in bytes: its header is read, pixels are not. Exceptions of Pillow propagate."""
    Image.init()
    with without_warnings():
        return Image.open(file, formats=[name for name in formats if name in Image.OPEN])


def _image(image: Image.Image, path: Path, check: Callable[[int, int], None]) -> LoadedImage:
    refuse_size(path, *image.size)
    check(image.height, image.width)
    refuse_beyond_free(path, *image.size, READING)
    notes: list[str] = []
    raw_mode = raw_mode_of(image)
    turned, orientation = upright(image, notes)
    pixels, alpha = colors_and_alpha(turned, raw_mode, notes)
    with without_warnings():
        exif = exif_worth_keeping(image, notes)
        icc, dpi = bool(image.info.get("icc_profile")), dpi_of(image, sideways=orientation >= FIRST_SIDEWAYS)
        note_frames(image, notes)
    return LoadedImage(pixels, alpha, tuple(notes), icc, exif, dpi)


def refuse_size(path: Path, width: int, height: int) -> None:
    """Raise BadItem for an image that is too large to be decoded."""
    if not 0 < width * height <= LARGEST_IMAGE:
        raise _too_large(path, f"{width:,} x {height:,} pixels")


def refuse_beyond_free(path: Path, width: int, height: int, nbytes: int) -> None:
    """Raise BadItem for an image that does not fit into the free memory at this number of bytes per pixel."""
    needed = width * height * nbytes
    if width * height > ALWAYS_FITS and needed > (free := free_memory(torch.device("cpu"))):
        raise BadItem(
            f"{path} has {width:,} x {height:,} pixels, which take up to {format_bytes(needed)} to read.",
            f"{format_bytes(free)} of memory are free.",
            "Make it smaller or cut it into pieces with another program; or close other programs.",
        )


def raw_mode_of(image: Image.Image) -> str:
    """The raw mode of the stored pixels ("RGB;16B"), if known; Pillow discards it once the image is decoded."""
    tiles = getattr(image, "tile", None) or [(None, None, None, "")]
    arguments = tiles[0][3]
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def upright(image: Image.Image, notes: list[str]) -> tuple[Image.Image, int]:
    """Decode an image and rotate it upright; also returns its stored orientation, 1 to 8."""
    # Pillow rotates TIFFs while it decodes them, and removes the tag. For other formats, reading it first would decode.
    stored = orientation_of(image) if image.format == "TIFF" else 1
    if image.format in ("JPEG", "MPO") and isinstance(image, ImageFile):
        refuse_many_scans(image.fp)
    # These read headers of further frames while they decode. The others need no lock, and decode in parallel.
    with without_warnings() if image.format in ("TIFF", "GIF") else nullcontext():
        image.load()
    left = orientation_of(image)
    orientation = left if left != 1 else stored
    if orientation != 1:
        notes.append(f"turned upright (EXIF orientation {orientation})")
    return image.transpose(TURNS[left]) if left != 1 else image, orientation


def orientation_of(image: Image.Image) -> int:
    """The orientation of an opened image in EXIF, 1 to 8; 1 if it states none. Decodes a PNG that has none."""
    try:
        with without_warnings():
            value = image.getexif().get(Base.Orientation, 1)
        return int(value) if value in TURNS else 1
    except Exception:  # damaged EXIF raises as many types of exceptions as damaged images do; the image itself is fine
        return 1


def _too_large(path: Path, size: str) -> BadItem:
    return BadItem(
        f"{path} claims to be an image of {size}.",
        f"Images of 1 to {LARGEST_IMAGE:,} pixels can be read.",
        "Cut it into pieces or make it smaller with another program.",
    )


def unreadable(path: Path, error: Exception, formats: Sequence[str] = FORMATS) -> BadItem:
    """The error for the user, for an exception of Pillow or the system; `formats` are the accepted ones."""
    if isinstance(error, Image.DecompressionBombError):
        return _too_large(path, f"more than {LARGEST_IMAGE:,} pixels")
    if isinstance(error, TooManyScans):
        return BadItem(
            f"{path} is a JPEG of {error}.",
            f"JPEGs of up to {MOST_SCANS} scans can be read; a progressive one has about ten.",
            "Save it again with another program.",
        )
    if isinstance(error, UnidentifiedImageError):
        known = f"Files of these formats can be read: {', '.join(formats)}."
        remedy = "Open it in another program, save it as PNG or JPEG, and use that file."
        return BadItem(f"{path} is not an image of a known format, or its beginning is damaged.", known, remedy)
    # "Invalid argument" means a damaged file that makes Pillow seek before the start.
    if isinstance(error, MemoryError) or (
        isinstance(error, OSError) and error.strerror and error.errno != errno.EINVAL
    ):
        return read_error(str(path), error)
    reason = printable(str(error)) or type(error).__name__
    remedy = "Copy or download the file again, or save it as PNG from a program that still opens it."
    return BadItem(f"{path} is damaged: {reason}.", "Expected a complete image.", remedy)

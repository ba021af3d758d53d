"""Names of files in caches of other programs: stems of images, sizes, and where the image is."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from vaekit.errors import BadLatent, printable

IMAGE_ENDINGS = (
    *(".png", ".jpg", ".jpeg", ".webp", ".bmp", ".avif", ".jxl", ".gif", ".tif", ".tiff", ".jfif", ".ppm", ".pgm"),
)
"""Endings of images that those programs encode."""
CAPTION_ENDINGS = (".txt", ".caption")
"""Endings of files with the caption of an image, beside it."""
SIZE = re.compile(r"(?P<stem>.+)_(?P<width>\d{1,7})x(?P<height>\d{1,7})")
"""The end of a stem with the size of the original image, width first."""
LONGEST_CAPTION = 2**20


def without_ending(name: str) -> str:
    """The name of an image without its ending; other dots are part of the name."""
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in IMAGE_ENDINGS else name


def inside(folder: Path, name: str) -> Path:
    """A path in a folder for an item; names come from caches, which may be hostile.

    Raises:
        BadLatent: the name leads elsewhere.
    """
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or PurePosixPath(name).is_absolute() or ".." in parts or "\0" in name or ":" in parts[0]:
        raise BadLatent(
            f"An item has the name {printable(name)!r}.",
            "Expected a name that is a path inside the folder.",
            "Rename it, and cache the data again.",
        )
    return folder.joinpath(*parts)


def flat(name: str) -> str:
    """A name without folders, for programs that look in one folder only."""
    return "_".join(PurePosixPath(name.replace("\\", "/")).parts)


def sized(stem: str) -> tuple[str, tuple[int, int] | None]:
    """A stem without the size at its end, and that size as (height, width); None if there is none.

    >>> sized("a_cat_0640x0480"), sized("a_cat")
    (('a_cat', (480, 640)), ('a_cat', None))
    """
    match = SIZE.fullmatch(stem)
    return (match["stem"], (int(match["height"]), int(match["width"]))) if match else (stem, None)


def images_beside(folder: Path, name: str) -> list[Path]:
    """The images of this name in a folder: of the very name if it has an ending, else with any ending."""
    path = folder / name
    if path.suffix.lower() in IMAGE_ENDINGS:
        return [path] if path.is_file() else []
    endings = (*IMAGE_ENDINGS, *(ending.upper() for ending in IMAGE_ENDINGS))
    candidates = (path.with_name(path.name + ending) for ending in endings)
    found = {os.path.realpath(each): each for each in candidates if each.is_file()}  # names may ignore upper case
    return list(found.values())


def caption_beside(image: Path) -> str | None:
    """The text beside an image, as trainers read it; None if there is none or it is not text."""
    for ending in CAPTION_ENDINGS:
        path = image.with_name(without_ending(image.name) + ending)
        try:
            if path.is_file() and path.stat().st_size <= LONGEST_CAPTION:
                return path.read_text("utf-8").strip()
        except (OSError, ValueError):
            continue
    return None


@dataclass(frozen=True)
class Source:
    """What is beside a file of latents."""

    image: Path | None = None
    caption: str | None = None


def source_in(folders: Sequence[Path], name: str) -> Source:
    """The image of a name, and its caption, in the first of some folders that has it."""
    images = next((found for folder in folders if (found := images_beside(folder, name))), None)
    return Source() if images is None else Source(images[0], caption_beside(images[0]))


@dataclass
class Names:
    """The files that are written, and for which items."""

    taken: dict[Path, str] = field(default_factory=dict)

    def take(self, path: Path, item: str) -> Path:
        """Reserve a file for an item.

        Raises:
            BadLatent: it is that of another item.
        """
        other = self.taken.setdefault(path, item)
        if other != item:
            raise BadLatent(
                f"{printable(other)} and {printable(item)} would share the file {path.name}.",
                "Expected items that differ in more than their folders and endings, where the format keeps neither.",
                "Rename one of them.",
            )
        return path

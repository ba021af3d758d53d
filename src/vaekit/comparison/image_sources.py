"""The images for a comparison: files, or the built-in test cards."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vaekit.domains.images.read import LoadedImage, accept, find_images, read_image
from vaekit.evaluation.protocol import chosen_names
from vaekit.metrics.image.levels import as_saved
from vaekit.testcards.cards import Card, cards

CARD_SIZE = (384, 512)
"""Rows and columns of the test cards, for VAEs without a fixed size."""


@dataclass(frozen=True)
class ImageSource:
    """An image of a comparison, not read yet."""

    name: str
    read: Callable[[], LoadedImage]


def images_in(
    paths: Sequence[Path], limit: int | None, seed: int, check: Callable[[int, int], None] = accept
) -> list[ImageSource]:
    """The images at some paths, in the order of their names; at most `limit`, drawn with the seed.

    Args:
        paths, limit, seed: see above.
        check: of the size of each; see `read_image`.

    Raises:
        NotFound: a path does not exist, or a folder holds no images.
    """
    files: dict[str, Path] = {}
    for path in paths:
        for file in find_images([path]):
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            files[name if name not in files else str(file)] = file
    names = chosen_names(list(files), limit, seed)
    return [ImageSource(name, partial(read_image, files[name], check)) for name in names]


def builtin_images(side: int | None) -> list[ImageSource]:
    """The test cards, as squares of `side` pixels, or in `CARD_SIZE`."""
    size = CARD_SIZE if side is None else (side, side)
    return [ImageSource(card.name, partial(_drawn, card, size)) for card in cards()]


def _drawn(card: Card, size: tuple[int, int]) -> LoadedImage:
    return LoadedImage(as_saved(card.draw(size)))

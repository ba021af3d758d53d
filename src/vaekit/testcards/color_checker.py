"""The color checker: 24 patches of standard colors (McCamy, Marcus, Davidson 1976, J. Appl. Photogr. Eng.
2)."""

from dataclasses import dataclass

import torch

from vaekit.shapes import Images

PATCHES: tuple[tuple[str, tuple[int, int, int]], ...] = (
    ("dark skin", (115, 82, 68)),
    ("light skin", (194, 150, 130)),
    ("blue sky", (98, 122, 157)),
    ("foliage", (87, 108, 67)),
    ("blue flower", (133, 128, 177)),
    ("bluish green", (103, 189, 170)),
    ("orange", (214, 126, 44)),
    ("purplish blue", (80, 91, 166)),
    ("moderate red", (193, 90, 99)),
    ("purple", (94, 60, 108)),
    ("yellow green", (157, 188, 64)),
    ("orange yellow", (224, 163, 46)),
    ("blue", (56, 61, 150)),
    ("green", (70, 148, 73)),
    ("red", (175, 54, 60)),
    ("yellow", (231, 199, 31)),
    ("magenta", (187, 86, 149)),
    ("cyan", (8, 133, 161)),
    ("white", (243, 243, 242)),
    ("neutral 8", (200, 200, 200)),
    ("neutral 6.5", (160, 160, 160)),
    ("neutral 5", (122, 122, 121)),
    ("neutral 3.5", (85, 85, 85)),
    ("black", (52, 52, 52)),
)
"""Names and 8-bit sRGB values, as published by the manufacturer for charts before November 2014 (X-Rite, "Colorimetric
values for ColorChecker family of targets"). Cyan is outside sRGB and is clipped there."""
ROWS, COLUMNS = 4, 6
FRAME = -0.72
"""The dark gray between the patches."""


@dataclass(frozen=True)
class Patch:
    """One patch in a card."""

    name: str
    color: tuple[int, int, int]
    """8-bit sRGB."""
    rows: slice
    columns: slice

    @property
    def place(self) -> tuple[slice, slice]:
        """Rows and columns, to index the last two axes of an image with."""
        return self.rows, self.columns


@dataclass(frozen=True, eq=False)
class CheckerCard:
    """An image of patches and their places."""

    image: Images
    """(1, 3, h, w)."""
    patches: tuple[Patch, ...]


def color_checker(size: tuple[int, int]) -> CheckerCard:
    """The 24 patches in four rows of six on dark gray; in six rows of four if the image is higher than wide.

    >>> card = color_checker((64, 96))
    >>> card.patches[0].name, card.image[0, :, 8, 8] * 127.5 + 127.5
    ('dark skin', tensor([115.,  82.,  68.]))
    """
    height, width = size
    upright = height > width
    rows, columns = (COLUMNS, ROWS) if upright else (ROWS, COLUMNS)
    image = torch.full((1, 3, height, width), FRAME)
    gap = min(height // rows, width // columns) // 12
    patches = []
    for number, (name, color) in enumerate(PATCHES):
        # Rotated by 90 degrees, so that the row of grays becomes the right-hand column.
        row, column = (number % COLUMNS, number // COLUMNS) if upright else divmod(number, COLUMNS)
        place = _part(height, row, rows, gap), _part(width, column, columns, gap)
        image[0, :, place[0], place[1]] = (torch.tensor(color) / 127.5 - 1).view(3, 1, 1)
        patches.append(Patch(name, color, *place))
    return CheckerCard(image, tuple(patches))


def _part(length: int, number: int, count: int, gap: int) -> slice:
    """Part `number` of `count` equal parts of a side, with half a gap more at the outer edges."""
    inner = length - gap
    return slice(gap + number * inner // count, (number + 1) * inner // count)

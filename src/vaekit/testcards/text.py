"""Small text in known places, which becomes illegible before other detail is visibly lost."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from vaekit.shapes import Images

SIZES = (32, 24, 20, 16, 14, 12, 10, 8)
"""Heights of the font in pixels, in the order of the lines."""
SENTENCES = (
    "Sphinx of black quartz judge my vow 2718",
    "Waltz nymph for quick jigs vex Bud 3141",
    "Glib jocks quiz nymph to vex dwarf 1618",
    "Pack my box with five dozen liquor jugs 5772",
    "The five boxing wizards jump quickly 1414",
    "How vexingly quick daft zebras jump 6626",
    "Bright vixens jump dozy fowl quack 2236",
)
"""Pangrams with every letter and digit."""
WORDS = " ".join(SENTENCES).split()
MARGIN = 12
DARK, LIGHT = 24, 236
"""8-bit levels of the paper and the ink: not quite black and white, so that an overshoot is visible."""
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class TextLine:
    """A line of text in a card, with its place."""

    text: str
    size: int
    """Height of the font in pixels."""
    rows: slice
    columns: slice
    light_on_dark: bool

    @property
    def place(self) -> tuple[slice, slice]:
        """Rows and columns, to index the last two axes of an image with."""
        return self.rows, self.columns


@dataclass(frozen=True, eq=False)
class TextCard:
    """An image of text and its places."""

    image: Images
    """(1, 3, h, w)."""
    lines: tuple[TextLine, ...]

    @property
    def one_of_each(self) -> tuple[TextLine, ...]:
        """The first line of each size, dark on light and light on dark: a subset for OCR, which is slow."""
        first: dict[tuple[int, bool], TextLine] = {}
        for line in self.lines:
            first.setdefault((line.size, line.light_on_dark), line)
        return tuple(first.values())


def text_card(size: tuple[int, int]) -> TextCard:
    """Lines of English words and digits, 8 to 32 pixels high, dark on light in the left half and light on dark in the
    right one; cards narrower than 256 pixels have dark on light only.

    The font is Pillow's built-in one. Text that does not fit is left out; a card below about 40 pixels has no lines.

    >>> card = text_card((256, 384))
    >>> card.image.shape, card.lines[0].text, card.lines[0].size
    (torch.Size([1, 3, 256, 384]), 'Sphinx of', 32)
    """
    height, width = size
    image = Image.new("L", (width, height), LIGHT)
    draw = ImageDraw.Draw(image)
    panels = [(0, width, False)] if width < 256 else [(0, width // 2, False), (width // 2, width, True)]
    lines: list[TextLine] = []
    for left, right, light_on_dark in panels:
        if light_on_dark:
            draw.rectangle((left, 0, right - 1, height - 1), fill=DARK)
        for line in _lines(height, left, right, light_on_dark):
            place = (line.columns.start, line.rows.start)
            draw.text(place, line.text, fill=LIGHT if light_on_dark else DARK, font=font(line.size))
            lines.append(line)
    gray = torch.from_numpy(np.asarray(image, dtype=np.float32)) / 127.5 - 1
    return TextCard(gray.expand(1, 3, -1, -1).contiguous(), tuple(lines))


def _lines(height: int, left: int, right: int, light_on_dark: bool) -> Iterator[TextLine]:
    """The lines of one panel from top to bottom: all sizes, repeated while there is space."""
    top, word = MARGIN, 0
    while True:
        before = top
        for size in SIZES:
            text, word_after = _fitting(word, font(size), right - left - 2 * MARGIN)
            below = top + _height(size)
            if text and below <= height - MARGIN // 2:
                width = round(font(size).getlength(text))
                yield TextLine(
                    text, size, slice(top, below), slice(left + MARGIN, left + MARGIN + width), light_on_dark
                )
                top, word = below, word_after
        top += MARGIN // 2
        if top == before + MARGIN // 2:
            return


def _fitting(word: int, typeface: Font, width: int) -> tuple[str, int]:
    """The longest text that fits, starting at a word, and the index of the next word; empty if no word fits."""
    text = ""
    while True:
        longer = f"{text} {WORDS[word % len(WORDS)]}".strip()
        if typeface.getlength(longer) > width or word > 10_000:
            return text, word
        text, word = longer, word + 1


def _height(size: int) -> int:
    return round(1.35 * size)


@functools.cache
def font(size: int) -> Font:
    """Pillow's built-in font at a height in pixels."""
    return ImageFont.load_default(size)

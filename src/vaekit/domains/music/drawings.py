"""Piano rolls: time to the right, pitch upwards, a color for each voice."""

import io
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vaekit.domains.music.excerpts import DRUM_CLASS, DRUM_CLASSES, DRUMS, Excerpt
from vaekit.domains.music.pieces import meter_of

STEP, ROW, DRUM_ROW, WIDEST = 6, 4, 8, 1536
"""The width of a step, the heights of a pitch and of a class of drums, and the largest width, in pixels."""
LEAST_PITCHES = 16
BACKGROUND, BEAT, BAR = 250, 232, 190
COLORS = ((36, 84, 164), (196, 78, 40), (48, 132, 76), (136, 76, 156))
"""Of voices; the start of a note is darker."""
MOST, COLUMNS, MARGIN = 64, 4, 8
"""Of a sheet: excerpts, columns, and pixels between them."""
Pixels = NDArray[np.uint8]
"""(h, w, 3)."""


def roll(excerpt: Excerpt) -> Pixels:
    """An excerpt as an image; of a long piece, the beginning."""
    step = max(1, min(STEP, WIDEST // max(len(excerpt.steps), 1)))
    count = min(len(excerpt.steps), WIDEST)
    notes = [(voice, note) for voice, note in excerpt.notes() if note.start < count]
    drums = excerpt.kind == DRUMS
    places = [DRUM_CLASS[note.pitch] if drums else note.pitch for _, note in notes]
    low, high = (0, len(DRUM_CLASSES) - 1) if drums else pitch_range(places)
    row = DRUM_ROW if drums else ROW
    image = np.full(((high - low + 1) * row, max(count, 1) * step, 3), BACKGROUND, np.uint8)
    meter = meter_of(excerpt.meter)
    for unit, level in ((1, BEAT), (meter.beats, BAR)):
        size = unit * 4 * excerpt.per_quarter / meter.unit * step
        image[:, np.arange(0, image.shape[1], max(size, 1)).astype(int)] = level
    for (voice, note), place in zip(notes, places, strict=True):
        top = (high - place) * row
        left, right = note.start * step, min(note.end, count) * step
        image[top : top + row, left:right] = COLORS[voice % len(COLORS)]
        image[top : top + row, left : left + max(1, step // 3)] //= 2
    return image


def pitch_range(pitches: Sequence[int]) -> tuple[int, int]:
    """The lowest and the highest pitch that are drawn."""
    low, high = min(pitches, default=60) - 1, max(pitches, default=60) + 1
    more = max(0, LEAST_PITCHES - (high - low + 1))
    return low - more // 2, high + more - more // 2


def sheet(excerpts: Sequence[Excerpt], columns: int = COLUMNS) -> Tensor:
    """The first excerpts beside and below each other, as an image (3, h, w) in [-1, 1]."""
    rolls = [roll(excerpt) for excerpt in excerpts[:MOST]] or [roll(Excerpt("melody", "4/4", 120.0, ()))]
    columns = max(1, min(columns, len(rolls), WIDEST // max(image.shape[1] for image in rolls) or 1))
    height, width = (max(image.shape[axis] for image in rolls) + MARGIN for axis in (0, 1))
    page = np.full((-(-len(rolls) // columns) * height, columns * width, 3), 255, np.uint8)
    for number, image in enumerate(rolls):
        top, left = number // columns * height, number % columns * width
        page[top : top + image.shape[0], left : left + image.shape[1]] = image
    return torch.from_numpy(page).permute(2, 0, 1).float() / 127.5 - 1


def png(pixels: Pixels) -> bytes:
    """An image as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return file.getvalue()


def sheet_png(excerpts: Sequence[Excerpt], columns: int = COLUMNS) -> bytes:
    """`sheet` as a PNG file."""
    levels = ((sheet(excerpts, columns) + 1) * 127.5).round().to(torch.uint8)
    return png(levels.permute(1, 2, 0).numpy())

"""The pictures of a model card, as PNG files: crops before and after, and how far colours are off."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vaekit.domains.images.colours import from_bytes
from vaekit.domains.images.reading import Picture
from vaekit.domains.images.writing import side_by_side, to_bytes, write_picture
from vaekit.metrics.levels import as_saved
from vaekit.report.contenders import Made
from vaekit.report.crops import Levels, Window, busiest_window, worst_window
from vaekit.report.records import ShownPicture
from vaekit.whole_files import cannot_write, whole_file

BEFORE, AFTER = "before", "after"
"""The sets of a card's report: what the VAE was, and what it is now."""
SIDE = 96
"""Pixels of a crop."""
ENLARGED = 3
"""Each pixel of a crop becomes so many a side: what changed is small."""
REACH = 40
"""Levels on each side of no error that the histogram shows; what is farther counts at the ends."""
CHANNELS = (("red", (205, 60, 60)), ("green", (50, 145, 75)), ("blue", (60, 100, 200)))
PAPER, INK, FAINT, GREY = (255, 255, 255), (50, 50, 50), (215, 215, 215), (130, 130, 130)
FINE = 3
"""The histogram is drawn so many times larger and reduced, which smooths its lines."""


@dataclass(frozen=True)
class CardPicture:
    """A picture of a card."""

    file: str
    """Its name in the folder of pictures."""
    says: str
    """What is seen, for those who do not see it too."""


@dataclass(eq=False)
class ColourErrors:
    """How often each channel of a result is so many levels off, over all pictures of a set."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros((3, 2 * REACH + 1), np.int64))

    def __call__(self, _: str, picture: Picture, made: Made) -> None:
        """Count one picture: a listener of `VaeContender`."""
        before, after = (to_bytes(as_saved(each)).astype(np.int16) for each in (picture.pixels, made.pixels))
        errors = np.clip(after - before, -REACH, REACH) + REACH
        for channel in range(3):
            self.counts[channel] += np.bincount(errors[..., channel].ravel(), minlength=2 * REACH + 1)

    def shares(self) -> NDArray[np.float64]:
        """For each channel, the share of values at each error; rows sum to 1."""
        return self.counts / max(1, self.counts[0].sum())


def write_crops(shown: Iterable[ShownPicture], folder: Path) -> list[CardPicture]:
    """One sheet for each picture: the original, before and after, where these two differ most.

    Args:
        shown: pictures with the reconstructions of both sets.
        folder: where the sheets go.

    Raises:
        CannotWrite: the disk is full, or the like.
    """
    made = []
    for number, picture in enumerate(shown, start=1):
        results = {name: to_bytes(picture.reconstructions[name]) for name in (BEFORE, AFTER)}
        window = most_different(results[BEFORE], results[AFTER])
        panels = [to_bytes(picture.original), results[BEFORE], results[AFTER]]
        sheet = side_by_side([enlarged(window.of(levels)) for levels in panels], ["original", "before", "after"])
        name = f"crop_{number}.png"
        write_picture(folder / name, sheet)
        made.append(CardPicture(name, f"Original, before and after, {ENLARGED} times enlarged: {picture.why}"))
    return made


def most_different(before: Levels, after: Levels) -> Window:
    """Where two results differ most; of equal ones the busiest place."""
    worst = worst_window(before, {AFTER: after}, SIDE)
    return worst.window if worst is not None and worst.rms_error else busiest_window(before, SIDE)


def enlarged(levels: Levels) -> Tensor:
    """A crop with larger pixels, (1, 3, h, w) in [-1, 1]."""
    return from_bytes(Image.fromarray(np.kron(levels, np.ones((ENLARGED, ENLARGED, 1), np.uint8))))


def write_histogram(before: ColourErrors, after: ColourErrors, path: Path) -> CardPicture:
    """How far off the values of each channel are, before and after, side by side for red, green and blue.

    Raises:
        CannotWrite: the disk is full, or the like.
    """
    image = histogram(before.shares(), after.shares())
    with whole_file(path) as part:
        try:
            image.save(part, format="PNG", optimize=True)
        except OSError as error:
            raise cannot_write(path, error) from error
    return CardPicture(path.name, "How far off each channel's values are, in levels of 255: before (grey), after")


def histogram(before: NDArray[np.float64], after: NDArray[np.float64]) -> Image.Image:
    """The drawing; rows of shares for the three channels."""
    width, height, gap, top, bottom = 300, 190, 24, 34, 34
    size = ((3 * width + 4 * gap) * FINE, (height + top + bottom) * FINE)
    image = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=13 * FINE)
    highest = max(before.max(), after.max(), 1e-9) * 1.08
    for channel, (name, colour) in enumerate(CHANNELS):
        left = (gap + channel * (width + gap)) * FINE
        floor = (top + height) * FINE
        places = left + (np.arange(2 * REACH + 1) + 0.5) * width * FINE / (2 * REACH + 1)
        old, new = (
            list(zip(places, floor - row / highest * height * FINE, strict=True))
            for row in (before[channel], after[channel])
        )
        fill = tuple((3 * 255 + shade) // 4 for shade in colour)
        draw.polygon([(places[0], floor), *new, (places[-1], floor)], fill=fill)
        middle = float(places[REACH])
        draw.line([(middle, top * FINE), (middle, floor)], fill=FAINT, width=FINE)
        draw.line(old, fill=GREY, width=2 * FINE, joint="curve")
        draw.line(new, fill=colour, width=2 * FINE, joint="curve")
        draw.line([(left, floor), (left + width * FINE, floor)], fill=INK, width=FINE)
        for level in (-REACH, -REACH // 2, 0, REACH // 2, REACH):
            place = float(places[level + REACH])
            draw.line([(place, floor), (place, floor + 4 * FINE)], fill=INK, width=FINE)
            draw.text((place, floor + 7 * FINE), f"{level:+d}" if level else "0", fill=INK, font=font, anchor="mt")
        draw.text((left, 10 * FINE), name, fill=colour, font=font, anchor="lt")
        if channel == 2:
            right = left + width * FINE
            draw.text((right, 10 * FINE), "grey: before, colour: after", fill=GREY, font=font, anchor="rt")
    return image.resize((size[0] // FINE, size[1] // FINE), Image.Resampling.LANCZOS)

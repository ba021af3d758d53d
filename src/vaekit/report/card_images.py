"""The images of a model card, as PNG files: crops before and after, and how far colors are off."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vaekit.atomic import atomic_file, cannot_write
from vaekit.comparison.candidates import Reconstruction
from vaekit.comparison.records import ShownImage
from vaekit.domains.images.colors import from_bytes
from vaekit.domains.images.read import LoadedImage
from vaekit.domains.images.write import side_by_side, to_bytes, write_image
from vaekit.metrics.image.levels import as_saved
from vaekit.report.crops import Levels, Window, busiest_window, worst_window

BEFORE, AFTER = "before", "after"
"""The sets of a card's report: what the VAE was, and what it is now."""
SIDE = 96
"""Pixels of a crop."""
ENLARGED = 3
"""Each pixel of a crop becomes so many a side: what changed is small."""
REACH = 40
"""Levels on each side of no error that the histogram shows."""
CHANNELS = (("red", (205, 60, 60)), ("green", (50, 145, 75)), ("blue", (60, 100, 200)))
PAPER, INK, FAINT, GRAY = (255, 255, 255), (50, 50, 50), (215, 215, 215), (130, 130, 130)
LEFT, TOP, WIDTH, HEIGHT, GAP, BOTTOM = 64, 40, 280, 200, 32, 32
"""Pixels of the histogram: margins, each of the three drawings, and what is between them."""
LOWEST = -5
"""The power of ten of the smallest share that is drawn."""
FINE = 3
"""The histogram is drawn so many times larger and reduced, which smooths its lines."""


@dataclass(frozen=True)
class CardImage:
    """An image of a card."""

    file: str
    """Its name in the folder of images."""
    says: str
    """What is seen, for those who do not see it too."""


@dataclass(eq=False)
class ColorErrors:
    """How often each channel of a result is so many levels off, over all images of a set."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros((3, 2 * REACH + 1), np.int64))
    values: int = 0
    """Of each channel; those that are farther off than the counts reach are among them."""

    def __call__(self, _: str, image: LoadedImage, made: Reconstruction) -> None:
        """Count one image: a listener of `VaeContender`."""
        before, after = (to_bytes(as_saved(each)).astype(np.int16) for each in (image.pixels, made.pixels))
        errors = after - before
        self.values += errors[..., 0].size
        for channel in range(3):
            near = errors[..., channel][np.abs(errors[..., channel]) <= REACH]
            self.counts[channel] += np.bincount(near + REACH, minlength=2 * REACH + 1)

    def shares(self) -> NDArray[np.float64]:
        """For each channel, the share of values at each error within reach."""
        return self.counts / max(1, self.values)


def write_crops(shown: Iterable[ShownImage], folder: Path) -> list[CardImage]:
    """One sheet for each image: the original, before and after, where these two differ most. Places where the
    original is of one color are left out.

    Args:
        shown: images with the reconstructions of both sets.
        folder: where the sheets go.

    Raises:
        CannotWrite: the disk is full, or the like.
    """
    for old in folder.glob("crop_*.png"):  # of an earlier call, which may have had more
        old.unlink()
    made: list[CardImage] = []
    for image in shown:
        results = {name: to_bytes(image.reconstructions[name]) for name in (BEFORE, AFTER)}
        window = most_different(results[BEFORE], results[AFTER])
        panels = [to_bytes(image.original), results[BEFORE], results[AFTER]]
        if not window.of(panels[0]).std(axis=(0, 1)).any():  # white paper shows nothing
            continue
        sheet = side_by_side([enlarged(window.of(levels)) for levels in panels], ["original", "before", "after"])
        name = f"crop_{len(made) + 1}.png"
        write_image(folder / name, sheet)
        made.append(CardImage(name, f"Original, before and after, {ENLARGED} times enlarged: {image.why}"))
    return made


def most_different(before: Levels, after: Levels) -> Window:
    """Where two results differ most; of equal ones the busiest place."""
    worst = worst_window(before, {AFTER: after}, SIDE)
    return worst.window if worst is not None and worst.rms_error else busiest_window(before, SIDE)


def enlarged(levels: Levels) -> Tensor:
    """A crop with larger pixels, (1, 3, h, w) in [-1, 1]."""
    return from_bytes(Image.fromarray(np.kron(levels, np.ones((ENLARGED, ENLARGED, 1), np.uint8))))


def write_histogram(before: ColorErrors, after: ColorErrors, path: Path) -> CardImage:
    """How far off the values of each channel are, before and after, side by side for red, green and blue.

    Raises:
        CannotWrite: the disk is full, or the like.
    """
    image = histogram(before.shares(), after.shares())
    with atomic_file(path) as part:
        try:
            image.save(part, format="PNG", optimize=True)
        except OSError as error:
            raise cannot_write(path, error) from error
    says = "The share of values that are so many levels of 255 too low or too high: before (gray), after (in color)"
    return CardImage(path.name, says)


def histogram(before: NDArray[np.float64], after: NDArray[np.float64]) -> Image.Image:
    """The drawing; rows of shares for the three channels. Shares are drawn by their logarithm: nearly all values are
    nearly right, and what one sees is in the rest."""
    size = (LEFT + 3 * (WIDTH + GAP), TOP + HEIGHT + BOTTOM)
    image = Image.new("RGB", (size[0] * FINE, size[1] * FINE), PAPER)
    draw = ImageDraw.Draw(image)
    for channel, (name, color) in enumerate(CHANNELS):
        left = LEFT + channel * (WIDTH + GAP)
        draw_axes(draw, left, labelled=channel == 0)
        old, new = (curve(row[channel], left) for row in (before, after))
        floor = (TOP + HEIGHT) * FINE
        pale = tuple((4 * 255 + shade) // 5 for shade in color)
        draw.polygon([(new[0][0], floor), *new, (new[-1][0], floor)], fill=pale)
        draw.line(old, fill=GRAY, width=2 * FINE, joint="curve")
        draw.line(new, fill=color, width=2 * FINE, joint="curve")
        draw.line([(left * FINE, floor), ((left + WIDTH) * FINE, floor)], fill=INK, width=FINE)
        words(draw, left, TOP - 12, name, color, "ls")
        words(draw, left + WIDTH, TOP - 12, "gray: before", GRAY, "rs")
    return image.resize(size, Image.Resampling.LANCZOS)


def curve(shares: NDArray[np.float64], left: int) -> list[tuple[float, float]]:
    """Places on the drawing for a row of shares."""
    across = left + np.linspace(0, WIDTH, len(shares))
    heights = np.clip(np.log10(np.maximum(shares, 1e-12)) / -LOWEST + 1, 0, 1)
    return [(float(x) * FINE, float(y) * FINE) for x, y in zip(across, TOP + HEIGHT * (1 - heights), strict=True)]


def draw_axes(draw: ImageDraw.ImageDraw, left: int, labelled: bool) -> None:
    """Lines at powers of ten, and a scale of levels below."""
    for power in range(LOWEST, 1):
        height = TOP + HEIGHT * power / LOWEST
        draw.line([(left * FINE, height * FINE), ((left + WIDTH) * FINE, height * FINE)], fill=FAINT, width=FINE)
        if labelled:
            words(draw, left - 8, height, f"{100 * 10.0**power:g} %", INK, "rm")
    for level in (-REACH, -REACH // 2, 0, REACH // 2, REACH):
        across = left + WIDTH * (level + REACH) / (2 * REACH)
        draw.line([(across * FINE, TOP * FINE), (across * FINE, (TOP + HEIGHT + 4) * FINE)], fill=FAINT, width=FINE)
        words(draw, across, TOP + HEIGHT + 20, f"{level:+d}" if level else "0", INK, "ms")


def words(
    draw: ImageDraw.ImageDraw, x: int | float, y: int | float, text: str, color: tuple[int, ...], anchor: str
) -> None:
    """Text at a place of the reduced drawing."""
    draw.text((x * FINE, y * FINE), text, fill=color, font=ImageFont.load_default(size=13 * FINE), anchor=anchor)

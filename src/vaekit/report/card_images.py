"""The images of a model card, as PNG files: crops before and after, and histograms of the color errors."""

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
from vaekit.report.plots import counts_by_channel

BEFORE, AFTER = "before", "after"
"""The candidates of a card's report: the VAE before and after fine-tuning."""
SIDE = 96
"""Pixels of a crop."""
ENLARGED = 3
"""The enlargement factor of crops, which makes small changes visible."""
REACH = 40
"""The histogram shows errors of up to this many levels in both directions."""
CHANNELS = (("red", (205, 60, 60)), ("green", (50, 145, 75)), ("blue", (60, 100, 200)))
WHITE, INK, FAINT, GRAY = (255, 255, 255), (50, 50, 50), (215, 215, 215), (130, 130, 130)
FINE = 3
"""The histogram is drawn at this scale and then reduced, which smooths its lines."""
LEFT, TOP, WIDTH, HEIGHT, GAP, BOTTOM = (FINE * pixels for pixels in (64, 40, 280, 200, 32, 32))
"""Layout of the histogram: margins, the size of each of its three plots, the gap between them."""
LOWEST = -5
"""The power of ten of the smallest share that is drawn."""


@dataclass(frozen=True)
class CardImage:
    """An image of a model card."""

    file: str
    """Its file name."""
    alt: str
    """Its alternative text."""


@dataclass(eq=False)
class ColorErrors:
    """Histograms of the errors of each channel in levels, over all images."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros((3, 2 * REACH + 3), np.int64))
    """(3, 2 REACH + 3): errors from -REACH - 1 to REACH + 1; the first and the last count all that are larger."""

    def __call__(self, _: str, image: LoadedImage, reconstruction: Reconstruction) -> None:
        """Count one image: a listener of `VAECandidate`."""
        before, after = (to_bytes(as_saved(each)).astype(np.int16) for each in (image.pixels, reconstruction.pixels))
        errors = np.clip(after - before, -REACH - 1, REACH + 1)
        self.counts += counts_by_channel(errors + REACH + 1, 2 * REACH + 3)

    def shares(self) -> NDArray[np.float64]:
        """The share of values with each error from -REACH to REACH, (3, 2 REACH + 1)."""
        return self.counts[:, 1:-1] / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)


def write_crops(shown: Iterable[ShownImage], folder: Path) -> list[CardImage]:
    """Write a sheet for each image: crops of the original, before and after, where the latter two differ most. Crops in
    which the original has a single color are omitted.

    Args:
        shown: images with the reconstructions of both candidates.
        folder: of the sheets.

    Raises:
        CannotWrite: a file cannot be written, e.g. because the disk is full.
    """
    for old in folder.glob("crop_*.png"):  # from an earlier call
        old.unlink()
    sheets: list[CardImage] = []
    for image in shown:
        results = {name: to_bytes(image.reconstructions[name]) for name in (BEFORE, AFTER)}
        window = most_different(results[BEFORE], results[AFTER])
        panels = [to_bytes(image.original), results[BEFORE], results[AFTER]]
        if not window.of(panels[0]).std(axis=(0, 1)).any():
            continue
        sheet = side_by_side([enlarged(window.of(levels)) for levels in panels], ["original", "before", "after"])
        name = f"crop_{len(sheets) + 1}.png"
        write_image(folder / name, sheet)
        sheets.append(CardImage(name, f"Original, before and after, enlarged {ENLARGED} times: {image.why}"))
    return sheets


def most_different(before: Levels, after: Levels) -> Window:
    """The window in which two reconstructions differ most; if they are equal, that with the most detail."""
    worst = worst_window(before, {AFTER: after}, SIDE)
    return worst.window if worst is not None and worst.rms_error else busiest_window(before, SIDE)


def enlarged(levels: Levels) -> Tensor:
    """A crop with pixels repeated, (1, 3, h, w) in [-1, 1]."""
    return from_bytes(Image.fromarray(np.kron(levels, np.ones((ENLARGED, ENLARGED, 1), np.uint8))))


def write_histogram(before: ColorErrors, after: ColorErrors, path: Path) -> CardImage:
    """Write the histogram of errors of each channel, before and after, as PNG.

    Raises:
        CannotWrite: the file cannot be written, e.g. because the disk is full.
    """
    image = histogram(before.shares(), after.shares())
    with atomic_file(path) as part:
        try:
            image.save(part, format="PNG", optimize=True)
        except OSError as error:
            raise cannot_write(path, error) from error
    alt = "Histogram of the errors of each channel, in 8-bit levels: before (gray) and after (in color)"
    return CardImage(path.name, alt)


def histogram(before: NDArray[np.float64], after: NDArray[np.float64]) -> Image.Image:
    """Plot rows of shares for the three channels, on a logarithmic scale: nearly all errors are small, and the visible
    ones are rare."""
    image = Image.new("RGB", (LEFT + 3 * (WIDTH + GAP), TOP + HEIGHT + BOTTOM), WHITE)
    draw = ImageDraw.Draw(image)
    floor = TOP + HEIGHT
    for channel, (name, color) in enumerate(CHANNELS):
        left = LEFT + channel * (WIDTH + GAP)
        draw_axes(draw, left, labelled=channel == 0)
        old, new = (curve(row[channel], left) for row in (before, after))
        pale = tuple((4 * 255 + shade) // 5 for shade in color)
        draw.polygon([(new[0][0], floor), *new, (new[-1][0], floor)], fill=pale)
        draw.line(old, fill=GRAY, width=2 * FINE, joint="curve")
        draw.line(new, fill=color, width=2 * FINE, joint="curve")
        draw.line([(left, floor), (left + WIDTH, floor)], fill=INK, width=FINE)
        label(draw, left, TOP - 12 * FINE, name, color, "ls")
        label(draw, left + WIDTH, TOP - 12 * FINE, "gray: before", GRAY, "rs")
    return image.resize((image.width // FINE, image.height // FINE), Image.Resampling.LANCZOS)


def curve(shares: NDArray[np.float64], left: int) -> list[tuple[float, float]]:
    """The points of a row of shares."""
    across = left + np.linspace(0, WIDTH, len(shares))
    heights = np.clip(np.log10(np.maximum(shares, 1e-12)) / -LOWEST + 1, 0, 1)
    return list(zip(across.tolist(), (TOP + HEIGHT * (1 - heights)).tolist(), strict=True))


def draw_axes(draw: ImageDraw.ImageDraw, left: int, labelled: bool) -> None:
    """Lines at powers of ten, and a scale of levels below."""
    for power in range(LOWEST, 1):
        y = TOP + HEIGHT * power / LOWEST
        draw.line([(left, y), (left + WIDTH, y)], fill=FAINT, width=FINE)
        if labelled:
            label(draw, left - 8 * FINE, y, f"{100 * 10.0**power:g} %", INK, "rm")
    for level in (-REACH, -REACH // 2, 0, REACH // 2, REACH):
        x = left + WIDTH * (level + REACH) / (2 * REACH)
        draw.line([(x, TOP), (x, TOP + HEIGHT + 4 * FINE)], fill=FAINT, width=FINE)
        label(draw, x, TOP + HEIGHT + 20 * FINE, f"{level:+d}" if level else "0", INK, "ms")


def label(
    draw: ImageDraw.ImageDraw, x: int | float, y: int | float, text: str, color: tuple[int, ...], anchor: str
) -> None:
    draw.text((x, y), text, fill=color, font=ImageFont.load_default(size=13 * FINE), anchor=anchor)

"""The result of a search for people: a query and its neighbors, as a contact sheet and as an HTML page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vaekit.atomic import atomic_file, cannot_write
from vaekit.domains.images.write import INK, PAPER, font_of_size, writable
from vaekit.report.embedding import Embedded, levels_of, photograph
from vaekit.report.page import write_static_page

COLUMNS = 5
TILE = 176
"""The side of a tile of the contact sheet in pixels. Smaller images are enlarged by repeating pixels."""
GAP, TEXT = 14, 13
"""Pixels between tiles, and of captions."""
LONGEST_NAME = 200
"""Characters of a caption; longer ones are cut before they are measured."""
ACCENT, FAINT = (31, 95, 153), (110, 118, 126)


@dataclass(frozen=True, eq=False)
class ShownItem:
    """An item on the sheet and the page."""

    name: str
    label: str | None = None
    distance: float | None = None
    """From the query; None for the query itself."""
    image: Tensor | None = None
    """(3, h, w) in [-1, 1]; None for items that are no images, or cannot be read any more."""
    text: str = ""
    """The content of an item of text."""
    note: str = ""
    """Such as "the query itself"."""
    similarity: float | None = None
    """Of the item to the query, by a measure of the domain."""

    @property
    def embedded(self) -> Embedded | None:
        """The image for the page."""
        return None if self.image is None else photograph(levels_of(self.image[None])[0], 480)


@dataclass(frozen=True, eq=False)
class SearchReport:
    """A query and its neighbors, nearest first."""

    query: ShownItem
    neighbors: Sequence[ShownItem]
    items: str
    """Plural noun for the items."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """About the index, for the page."""
    measure: str | None = None
    """The name of the measure of similarity; None without one."""

    @property
    def has_images(self) -> bool:
        """Whether there is an image to show."""
        return any(each.image is not None for each in (self.query, *self.neighbors))

    @property
    def has_labels(self) -> bool:
        """Whether a neighbor has a label."""
        return any(each.label is not None for each in self.neighbors)


def write_sheet(report: SearchReport, path: Path) -> None:
    """Write a contact sheet as PNG: the query, then its neighbors in rows, with rank, distance, label and name.

    Raises:
        CannotWrite: for example, the disk is full.
    """
    font = font_of_size(TEXT)
    line = sum(font.getmetrics()) + 2
    high = TILE + 3 * line + GAP
    shown = list(report.neighbors)
    rows = max(1, -(-len(shown) // COLUMNS))
    left = TILE + 3 * GAP
    columns = max(1, min(COLUMNS, len(shown)))
    sheet = Image.new("RGB", (left + columns * (TILE + GAP) + GAP, GAP + rows * high), PAPER)
    draw = ImageDraw.Draw(sheet)
    place(sheet, report.query, GAP, GAP)
    draw.rectangle((GAP - 4, GAP - 4, GAP + TILE + 3, GAP + TILE + 3), outline=ACCENT, width=2)
    lines = ["query", report.query.label or "", report.query.name]
    write_lines(draw, [each for each in lines if each], GAP, GAP + TILE + 4, line)
    draw.line((left - GAP, GAP, left - GAP, GAP + rows * high - GAP), fill=FAINT)
    for number, each in enumerate(shown):
        x, y = left + number % COLUMNS * (TILE + GAP), GAP + number // COLUMNS * high
        place(sheet, each, x, y)
        alike = "" if each.similarity is None else f"  {report.measure} {similarity_text(each.similarity)}"
        about = [f"{number + 1}.  {distance_text(each.distance)}{alike}", each.note or each.label or "", each.name]
        write_lines(draw, [text for text in about if text], x, y + TILE + 4, line)
    with atomic_file(path) as part:
        try:
            sheet.save(part, "PNG")
        except (ValueError, OverflowError, MemoryError) as error:
            raise cannot_write(path, error) from error


def place(sheet: Image.Image, item: ShownItem, x: int, y: int) -> None:
    """Paste an item into its tile: centered, reduced if it is larger, enlarged by a whole factor if it is smaller."""
    tile = Image.new("RGB", (TILE, TILE), (225, 226, 226))
    if item.image is not None:
        image = Image.fromarray(levels_of(item.image[None])[0])
        scale = TILE / max(image.size)
        if scale >= 1:
            size = (image.width * int(scale), image.height * int(scale))
            image = image.resize(size, Image.Resampling.NEAREST)
        else:
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            image = image.resize(size, Image.Resampling.LANCZOS)
        tile.paste(image, ((TILE - image.width) // 2, (TILE - image.height) // 2))
    else:
        ImageDraw.Draw(tile).text(
            (TILE // 2, TILE // 2), "not available", fill=FAINT, font=font_of_size(TEXT), anchor="mm"
        )
    sheet.paste(tile, (x, y))


def write_lines(draw: ImageDraw.ImageDraw, lines: Sequence[str], x: int, y: int, height: int) -> None:
    """Write a caption; the first line is darker."""
    font = font_of_size(TEXT)
    for number, text in enumerate(lines):
        fill = INK if number == 0 else FAINT
        draw.text((x, y + number * height), without_middle(writable(text), font), fill=fill, font=font)


def without_middle(text: str, font: ImageFont.FreeTypeFont) -> str:
    """A text cut to the width of a tile: names differ at both ends."""
    text = text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME // 2]}{text[-LONGEST_NAME // 2 :]}"
    kept = len(text)
    shown = text
    while kept > 1 and font.getlength(shown) > TILE:
        kept -= 1
        tail = kept // 2
        shown = f"{text[: kept - tail]}…{text[len(text) - tail :]}"
    return shown


def write_page(report: SearchReport, path: Path) -> None:
    """Write a self-contained HTML page, which opens from disk, runs no script and makes no request.

    Raises:
        CannotWrite: for example, the disk is full.
    """
    write_static_page(
        "search",
        path,
        report=report,
        distance=distance_text,
        similarity=similarity_text,
        share=nearness,
    )


def distance_text(distance: float | None) -> str:
    """A distance for people."""
    return "" if distance is None else f"{distance:.4f}"


def similarity_text(similarity: float | None) -> str:
    """A similarity for people."""
    return "-" if similarity is None else f"{similarity:.2f}"


def nearness(distance: float | None) -> str:
    """The width of a bar, in percent: full for distance 0, empty for 1 and more."""
    return f"{100 * max(0.0, 1 - (distance or 0)):.1f}%"

"""The built-in test cards by name, which reports use if there are no other images."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Generator

from vaekit.shapes import Images
from vaekit.testcards.color import COLORS, flat_colors
from vaekit.testcards.color_checker import color_checker
from vaekit.testcards.dead_leaves import dead_leaves
from vaekit.testcards.ramps import color_ramps, ramp
from vaekit.testcards.slanted import slanted_edges
from vaekit.testcards.text import text_card
from vaekit.testcards.zone_plate import zone_plate

Size = tuple[int, int]
"""Rows and columns."""


@dataclass(frozen=True)
class Card:
    """A built-in image."""

    name: str
    about: str
    """What it tests, in one sentence."""
    draw: Callable[[Size], Images]
    """Draws the image (1, 3, h, w) in [-1, 1] in any size with sides of at least 16 pixels; deterministic."""


def cards() -> tuple[Card, ...]:
    """Every built-in card, in the order of a report.

    >>> [card.name for card in cards()][:3]
    ['text', 'color checker', 'slanted edges']
    """
    return (
        Card("text", "Words 8 to 32 pixels high: legibility of small text.", lambda size: text_card(size).image),
        Card(
            "color checker",
            "24 patches of known colors: color shifts.",
            lambda size: color_checker(size).image,
        ),
        Card(
            "slanted edges",
            "Edges of several contrasts: sharpness and halos.",
            lambda size: slanted_edges(size).image,
        ),
        Card("zone plate", "Every spatial frequency: limits of detail and aliasing.", zone_plate),
        Card("gray ramp", "A smooth ramp from black to white: bands, tint, clipping and contrast.", ramp),
        Card("gray ramp, vertical", "The same from top to bottom.", lambda size: ramp(size, vertical=True)),
        Card("color ramps", "From black over pure colors to white: bands and clipping in colors.", color_ramps),
        Card("color ramps, vertical", "The same in columns.", lambda size: color_ramps(size, vertical=True)),
        Card(
            "dead leaves",
            "Random discs with the statistics of photographs: texture and edges of every scale.",
            lambda size: dead_leaves(1, size, Generator().manual_seed(0)),
        ),
        *(
            Card(
                f"flat {name}",
                "One color: any structure in the reconstruction is an artefact.",
                lambda size, color=color: flat_colors(size, [color]),  # type: ignore[misc]
            )
            for name, color in zip(FLAT_NAMES, COLORS, strict=True)
        ),
    )


FLAT_NAMES = ("mid gray", "light gray", "dark gray", "red", "green", "blue")

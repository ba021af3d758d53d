"""All built-in test cards by name: what a report looks at when it is given no image."""

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
    """What it shows of a VAE, in one sentence for a person."""
    draw: Callable[[Size], Images]
    """An image (1, 3, h, w) in [-1, 1] of any size from 16 pixels a side; always the same."""


def cards() -> tuple[Card, ...]:
    """Every built-in card, in the order of a report.

    >>> [card.name for card in cards()][:3]
    ['text', 'color checker', 'slanted edges']
    """
    return (
        Card("text", "Words 8 to 32 pixels high: which of them stay legible.", lambda size: text_card(size).image),
        Card(
            "color checker",
            "24 patches of known colors: which way colors go.",
            lambda size: color_checker(size).image,
        ),
        Card(
            "slanted edges",
            "Edges of several contrasts: how sharp they stay, and whether halos grow beside them.",
            lambda size: slanted_edges(size).image,
        ),
        Card("zone plate", "Every spatial frequency: where detail ends, and what comes in its place.", zone_plate),
        Card("gray ramp", "Black to white, smoothly: bands, tint, clipping and contrast.", ramp),
        Card("gray ramp, vertical", "The same from top to bottom.", lambda size: ramp(size, vertical=True)),
        Card("color ramps", "Black over pure colors to white: bands and clipping in colors.", color_ramps),
        Card("color ramps, vertical", "The same in columns.", lambda size: color_ramps(size, vertical=True)),
        Card(
            "dead leaves",
            "Random discs with the statistics of photographs: texture and edges of every scale.",
            lambda size: dead_leaves(1, size, Generator().manual_seed(0)),
        ),
        *(
            Card(
                f"flat {name}",
                "One color: whatever structure comes back was put there by the VAE.",
                lambda size, color=color: flat_colors(size, [color]),  # type: ignore[misc]
            )
            for name, color in zip(FLAT_NAMES, COLORS, strict=True)
        ),
    )


FLAT_NAMES = ("mid gray", "light gray", "dark gray", "red", "green", "blue")

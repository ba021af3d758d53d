"""Players of a page: an item and its reconstructions, heard in sync, with their images and measures."""

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from vaekit.domains.listening import Listening
from vaekit.metrics.measure import Measure
from vaekit.report.embedding import Embedded, levels_of, photograph

MOST_BYTES = 24 * 2**20
"""Of the sounds of a page together, before base64."""
LONGEST = 960
"""The longer side of an image, in pixels."""


@dataclass(frozen=True, eq=False)
class PlayedItem:
    """An item and its reconstructions."""

    name: str
    why: str
    """The reason why it was chosen: `worst log-mel L1`."""
    sounds: Mapping[str, Listening]
    """The original first, then each reconstruction, by title."""
    measures: Sequence[tuple[Measure, Mapping[str, float]]] = field(default_factory=tuple)
    """Measures, and their values by the title of the reconstruction."""

    @property
    def size(self) -> int:
        """Of the sounds, in bytes."""
        return sum(len(each.content) for each in self.sounds.values())


@dataclass(frozen=True)
class Track:
    """A sound as the page embeds it."""

    title: str
    url: str
    image: Embedded


@dataclass(frozen=True)
class Player:
    """A player as the page shows it."""

    name: str
    why: str
    seconds: float
    """Of the longest sound."""
    tracks: Sequence[Track]
    rows: Sequence[tuple[Measure, Sequence[str]]]
    """Measures with the texts of their values, in the order of the reconstructions."""

    @property
    def columns(self) -> Sequence[str]:
        """The titles of the reconstructions."""
        return [track.title for track in self.tracks[1:]]


def players(items: Iterable[PlayedItem]) -> list[Player]:
    """Embed the first items, until their sounds have `MOST_BYTES` together; the first one in any case."""
    embedded: list[Player] = []
    left = MOST_BYTES
    for item in items:
        left -= item.size
        if left < 0 and embedded:
            break
        embedded.append(player(item))
    return embedded


def player(item: PlayedItem) -> Player:
    """Embed an item."""
    titles = list(item.sounds)[1:]
    rows = [
        (measure, [value_text(measure, values.get(title, math.nan)) for title in titles])
        for measure, values in item.measures
    ]
    seconds = max(each.seconds for each in item.sounds.values())
    return Player(item.name, item.why, seconds, [track(*each) for each in item.sounds.items()], rows)


def value_text(measure: Measure, value: float) -> str:
    """A value with its unit; a dash where there is none."""
    return "-" if math.isnan(value) else measure.text(value)


def track(title: str, sound: Listening) -> Track:
    """Embed a sound with its image."""
    url = f"data:{sound.media_type};base64,{base64.b64encode(sound.content).decode('ascii')}"
    return Track(title, url, photograph(levels_of(sound.image[None])[0], LONGEST))

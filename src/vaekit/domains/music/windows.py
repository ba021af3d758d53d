"""Windows of a few bars over pieces of music, as a data set of excerpts."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vaekit.datasets.dataset import Dataset, Parsed, Record
from vaekit.datasets.skip_log import SkipLog, silent
from vaekit.domains.music.excerpts import Excerpt, silence
from vaekit.domains.music.grids import Grid, grids_of
from vaekit.domains.music.pieces import Piece
from vaekit.errors import BadItem, NotFound, counted, printable

SHOWN = 10
"""Changes of pieces that are part of a message."""


@dataclass(frozen=True)
class Cut:
    """How pieces become excerpts."""

    kind: str
    bars: int
    """Of an excerpt; 0: all of a piece."""
    per_quarter: int
    voices: int
    hop: int = 0
    """Bars from an excerpt to the next one; 0: as many as it has."""
    silent: bool = True
    """Whether excerpts in which nothing sounds are kept."""


class Place(NamedTuple):
    """Where a window is."""

    name: str
    grid: Grid | None
    """None for a piece that cannot be read."""
    first: int
    """Bar."""
    bars: int
    reason: str
    """Why the piece cannot be read."""


@dataclass(frozen=True, eq=False)
class Windows:
    """Excerpts of pieces in order; records are `Parsed` with an `Excerpt`."""

    places: tuple[Place, ...]
    cut: Cut
    digest: str
    kind: str = "music"

    def __len__(self) -> int:
        return len(self.places)

    def key(self, item: int) -> str:
        return self.places[item].name

    def read(self, item: int) -> Record:
        place = self.places[item]
        reason = self._reason(place)
        if reason:
            raise BadItem(f"{printable(place.name)} does not fit: {printable(reason, 200)}.", "", "")
        return self.unchecked(item)

    def unchecked(self, item: int) -> Record:
        """An excerpt; rests in place of one that does not fit."""
        place = self.places[item]
        if place.grid is None:
            return Parsed(place.name, silence(self.cut.kind, 1, self.cut.voices, "4/4"))
        excerpt = place.grid.excerpt(place.first, place.bars) if self.cut.bars else place.grid.whole()
        if self._reason(place):
            count, voices = len(excerpt.steps), place.grid.values.shape[1]
            excerpt = silence(excerpt.kind, count, voices, excerpt.meter, excerpt.tempo, excerpt.per_quarter)
        return Parsed(place.name, excerpt)

    def _reason(self, place: Place) -> str:
        """Why an excerpt does not fit; empty if it does."""
        if place.grid is None:
            return place.reason
        return place.grid.problem(place.first, place.bars, whole=not self.cut.bars)

    def excerpts(self) -> list[Excerpt]:
        """Those that fit."""
        found = []
        for item in range(len(self)):
            try:
                record = self.read(item)
            except BadItem:
                continue
            assert isinstance(record, Parsed)
            found.append(record.item)
        return found


def windows(dataset: Dataset, items: Sequence[int], cut: Cut, log: SkipLog) -> Windows:
    """Excerpts of some pieces.

    Args:
        dataset: of pieces.
        items: the numbers of those to cut.
        cut: how.
        log: for pieces that cannot be read, and for what was changed or left out.
    """
    places, counts, remarks = list[Place](), Counter[str](), list[str]()
    for item in items:
        file = dataset.key(item).rpartition(":")[0] or dataset.key(item)
        try:
            record = dataset.read(item)
            assert isinstance(record, Parsed)
            piece: Piece = record.item
            grids, left_out = grids_of(piece, cut.kind, cut.voices, cut.per_quarter)
            if not grids:
                raise BadItem(f"There is no line of {cut.kind}: {'; '.join(left_out)}.", "", "")
        except (BadItem, NotFound) as error:
            counts[file] += 1
            places.append(Place(f"{file}:{counts[file]}", None, 0, 0, str(error)))
            continue
        remarks += [f"{printable(piece.name)}: {remark}" for remark in piece.remarks]
        remarks += [f"left out: {part}" for part in left_out]
        for grid in grids:
            remarks += moved_notes(grid)
            for first, count in cuts(len(grid.bars), cut):
                counts[file] += 1
                if cut.silent or not grid.silent(first, count):
                    places.append(Place(f"{file}:{counts[file]}", grid, first, cut.bars or count, ""))
    tell(remarks, log.say)
    settings = json.dumps([cut.kind, cut.bars, cut.per_quarter, cut.voices, cut.hop, cut.silent])
    digest = hashlib.sha256(f"{dataset.digest} {settings} {list(items)}".encode()).hexdigest()
    return Windows(tuple(places), cut, digest)


def cuts(bars: int, cut: Cut) -> list[tuple[int, int]]:
    """First bar and number of bars of each window over a number of bars. The last one may go beyond them.

    >>> cuts(5, Cut("melody", 2, 4, 1)), cuts(5, Cut("melody", 2, 4, 1, hop=1)), cuts(5, Cut("melody", 0, 4, 1))
    ([(0, 2), (2, 2), (4, 2)], [(0, 2), (1, 2), (2, 2), (3, 2)], [(0, 5)])
    """
    if not cut.bars:
        return [(0, bars)]
    hop = min(cut.hop or cut.bars, cut.bars)
    count = max(1, -(-(bars - cut.bars) // hop) + 1)
    return [(number * hop, cut.bars) for number in range(count)]


def moved_notes(grid: Grid) -> list[str]:
    """The notes of a grid that were moved to it."""
    if not grid.moved:
        return []
    bars = [f"{bar + 1}" for bar in sorted(grid.moved)]
    shown = ", ".join(bars[:SHOWN]) + (", ..." if len(bars) > SHOWN else "")
    count = sum(grid.moved.values())
    plural = "bar" if len(bars) == 1 else "bars"
    return [f"{printable(grid.name)}: {counted(count, 'note')} moved to the grid in {plural} {shown}"]


def tell(remarks: Sequence[str], say: Callable[[str], None] = silent) -> None:
    """Say what was changed in pieces, the first ones in full."""
    if remarks:
        more = f"; and {len(remarks) - SHOWN:,} more" if len(remarks) > SHOWN else ""
        say(f"Changes to pieces: {'; '.join(remarks[:SHOWN])}{more}.")

"""Excerpts of music for lossless compression: their notes on the grid, with meter and tempo."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path, PurePosixPath

from vaekit.atomic import atomic_file
from vaekit.datasets.dataset import Record
from vaekit.domains.lossless import Restored
from vaekit.domains.lossless_lines import LosslessTokens
from vaekit.domains.music.excerpts import COMBINATIONS, DRUMS, KINDS, MOST_VOICES, REST, Excerpt
from vaekit.domains.music.midi_files import write_midi
from vaekit.domains.music.pieces import meter_of
from vaekit.domains.music.schema import excerpt_of
from vaekit.domains.music.write import joined

ENDING = ".mid"
TEMPO = "tempo"
HIGHEST = 127
"""The highest pitch of MIDI."""


@dataclass(frozen=True)
class LosslessExcerpts(LosslessTokens):
    """A few bars each."""

    tempo: float
    """Of items that a VAE writes: quarter notes per minute."""

    def remainder(self, record: Record, item: Excerpt | None) -> bytes:
        """The tempo if it is another one, as JSON; the whole excerpt if its notes or its meter are others."""
        _, excerpt = excerpt_of(record)
        if item is None or replace(item, tempo=excerpt.tempo) != excerpt:
            return json.dumps(asdict(excerpt)).encode()
        return b"" if excerpt.tempo == item.tempo else json.dumps({TEMPO: excerpt.tempo}).encode()

    def write(self, items: Iterable[Restored], out: Path) -> Sequence[Path]:
        """A MIDI file for each file, with its excerpts one after the other, in a folder."""
        paths = []
        for name, parts in groupby(items, lambda each: each.name.rpartition(":")[0]):
            inside = PurePosixPath(name)
            if inside.is_absolute() or ".." in inside.parts or "\0" in name or not inside.parts:
                raise ValueError("a name is not inside the folder")
            piece, markers = joined([excerpt_from(each) for each in parts])
            path = out / inside.with_suffix(ENDING)
            path = path.with_name(inside.name + ENDING) if path in paths else path
            with atomic_file(path) as temporary:
                temporary.write_bytes(write_midi(piece, markers=markers))
            paths.append(path)
        return paths


def excerpt_from(restored: Restored) -> Excerpt:
    """The excerpt of an item.

    Raises:
        ValueError: its remainder is not as it was written.
    """
    item = restored.item
    if not restored.remainder and isinstance(item, Excerpt):
        return item
    told = json.loads(restored.remainder)
    if not isinstance(told, dict):
        raise ValueError("what belongs to an excerpt is missing")
    if isinstance(item, Excerpt) and told.keys() == {TEMPO}:
        return replace(item, tempo=tempo_from(told[TEMPO]))
    kind, meter, steps, per_quarter = (told.get(name) for name in ("kind", "meter", "steps", "per_quarter"))
    if kind not in KINDS or not isinstance(meter, str) or type(per_quarter) is not int or not 1 <= per_quarter <= 2**10:
        raise ValueError("the grid of an excerpt is missing")
    meter_of(meter)
    rows = steps if isinstance(steps, list) else []
    most = COMBINATIONS - 1 if kind == DRUMS else HIGHEST
    whole = all(
        isinstance(row, list)
        and len(row) == len(rows[0])
        and all(type(value) is int and REST <= value <= most for value in row)
        for row in rows
    )
    if not rows or not whole or not 1 <= len(rows[0]) <= MOST_VOICES:
        raise ValueError("the notes of an excerpt are missing")
    return Excerpt(kind, meter, tempo_from(told.get(TEMPO)), tuple(map(tuple, rows)), per_quarter)


def tempo_from(value: object) -> float:
    """A tempo of a file.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, int | float) or not 0 < value < 1e5:
        raise ValueError("the tempo of an excerpt is missing")
    return float(value)

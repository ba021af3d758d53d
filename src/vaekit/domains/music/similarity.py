"""How similar the pitches of two excerpts are: what orders the points of a path."""

from collections import Counter
from collections.abc import Sequence

from vaekit.domains.item_functions import ItemSimilarity
from vaekit.domains.music.excerpts import Excerpt


def pitch_shares(excerpt: Excerpt) -> dict[int, float]:
    """The share of notes that start with each pitch; empty if nothing sounds.

    >>> pitch_shares(Excerpt("melody", "2/4", 120.0, ((60,), (-1,), (62,), (60,), (-2,), (-2,), (60,), (-1,))))
    {60: 0.75, 62: 0.25}
    """
    counts = Counter(note.pitch for _, note in excerpt.notes())
    total = counts.total()
    return {pitch: count / total for pitch, count in sorted(counts.items())}


def common_pitches(one: Sequence[Excerpt], other: Sequence[Excerpt]) -> list[float]:
    """The similarity of each pair of excerpts: the common area of their pitch histograms, which is 1 minus their total
    variation distance. Two excerpts in which nothing sounds have a similarity of 1."""
    return [common_area(pitch_shares(left), pitch_shares(right)) for left, right in zip(one, other, strict=True)]


def common_area(one: dict[int, float], other: dict[int, float]) -> float:
    """The common area of two histograms; that of empty ones is 1."""
    if not one and not other:
        return 1.0
    return min(1.0, sum((min(share, other.get(pitch, 0.0)) for pitch, share in one.items()), start=0.0))


PITCHES = ItemSimilarity("common pitches", common_pitches)

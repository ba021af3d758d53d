"""One image that the page shows: the slider, the crops, the maps of differences, the histograms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaekit.comparison.records import Report, ShownImage
from vaekit.report.crops import MARGIN, Levels, Window, Worst, busiest_window, worst_window
from vaekit.report.embedding import Differences, differences, exact, levels_of, photograph, thumbnail
from vaekit.report.number_format import number, share
from vaekit.report.plots import CHANNELS, histogram, level_counts
from vaekit.report.ranking import Candidate, candidates, key_measures
from vaekit.report.tables import image_table

ORIGINAL = Candidate("original", "O", "original", "Original")
SCALES = (4, 8, 16, 32, 64)
"""Levels at the ends of the color scale of the maps."""
PLACES = {"worst": "Largest error", "busiest": "Most detail"}
"""Titles of the crops."""


@dataclass(frozen=True, eq=False)
class Examined:
    """A shown image with its reconstructions in 8-bit levels, and what was measured on them for the page."""

    image: ShownImage
    original: Levels
    sets: Mapping[int, Levels]
    """By the candidate's position in the report."""
    worst: Worst | None
    busiest: Window
    counts: Mapping[int | str, NDArray[np.int64]]
    """Pixels at each level (4, 256), by the key of the candidate or the original."""
    not_numbers: Mapping[str, int]
    """How many pixels are NaN, for candidates that have any."""

    @property
    def clipped(self) -> dict[int | str, NDArray[np.float64]]:
        """Shares of pixels at level 0 and at level 255, (4, 2)."""
        return {key: counts[:, [0, -1]] / counts.sum(axis=1, keepdims=True) for key, counts in self.counts.items()}


def examine(report: Report, image: ShownImage) -> Examined:
    """Find what the page shows. Reconstructions of candidates that the report does not have are left out.

    Raises:
        ValueError: a reconstruction has another size than the original.
    """
    original, _ = levels_of(image.original)
    sets: dict[int, Levels] = {}
    not_numbers: dict[str, int] = {}
    for i, judged in enumerate(report.candidates):
        if judged.name not in image.reconstructions:
            continue
        sets[i], broken = levels_of(image.reconstructions[judged.name])
        if sets[i].shape != original.shape:
            raise ValueError(f"{image.name}: {sets[i].shape[:2]} of {judged.name!r} against {original.shape[:2]}")
        if broken:
            not_numbers[judged.name] = broken
    counts = {ORIGINAL.key: level_counts(original)} | {i: level_counts(levels) for i, levels in sets.items()}
    worst = worst_window(original, {report.candidates[i].name: levels for i, levels in sets.items()})
    return Examined(image, original, sets, worst, busiest_window(original), counts, not_numbers)


def numbers_of(report: Report, found: Examined) -> dict[str, Any]:
    """The numbers of a shown image, for the JSON file."""
    height, width = found.original.shape[:2]
    worst = None
    if found.worst is not None:
        worst = {**vars(found.worst.window), "set": found.worst.set_name, "rms_error": found.worst.rms_error}
    return {
        "name": found.image.name,
        "why": found.image.why,
        "width": width,
        "height": height,
        "crops": {"worst": worst, "busiest": vars(found.busiest)},
        "clipped": [
            {
                "of": key if key == ORIGINAL.key else report.candidates[int(key)].name,
                "channels": {
                    channel: {"black": float(black), "white": float(white)}
                    for channel, (black, white) in zip(CHANNELS, shares, strict=True)
                },
            }
            for key, shares in found.clipped.items()
        ],
        "not_numbers": found.not_numbers,
    }


def image_view(report: Report, found: Examined) -> dict[str, Any]:
    """What the template shows of one image. It keeps no pixels but the embedded ones."""
    height, width = found.original.shape[:2]
    known = candidates(report)
    levels = {ORIGINAL: found.original} | {known[i]: each for i, each in found.sets.items()}
    large = {candidate: photograph(each) for candidate, each in levels.items()}
    measures, rows = image_table(report, found.image.name, key_measures(report))
    by_key = {candidate.key: candidate for candidate in levels}
    return {
        "name": found.image.name,
        "why": found.image.why,
        "width": width,
        "height": height,
        "shown_width": large[ORIGINAL].width,
        "shown_height": large[ORIGINAL].height,
        "thumbnail": thumbnail(found.original),
        "non_finite": found.not_numbers,
        "large": large,
        "measures": measures,
        "rows": rows,
        "places": _places(found, levels),
        "maps": _maps(found, known),
        "histograms": [
            histogram(
                channel,
                found.counts[ORIGINAL.key][c],
                {int(key): counts[c] for key, counts in found.counts.items() if key != ORIGINAL.key},
            )
            for c, channel in enumerate(CHANNELS)
        ],
        "clipped": {by_key[key]: [share(part) for part in shares.flat] for key, shares in found.clipped.items()},
    }


def _places(found: Examined, levels: Mapping[Candidate, Levels]) -> list[dict[str, Any]]:
    """The crops: the window with the largest error, if there are reconstructions, and the busiest one."""
    worst = [("worst", found.worst.window)] if found.worst else []
    places: list[dict[str, Any]] = []
    for name, window in (*worst, ("busiest", found.busiest)):
        around = window.grown(MARGIN, found.original)
        places.append(
            {
                "name": name,
                "title": PLACES[name],
                "window": window,
                "around": around,
                "lenses": {candidate: exact(around.of(each)) for candidate, each in levels.items()},
                "columns": _columns(len(levels)),
            }
        )
    if found.worst is not None:
        culprit = next(candidate for candidate in levels if candidate.name == found.worst.set_name)
        places[0] |= {"candidate": culprit, "rms_error": number(found.worst.rms_error, 1)}
    return places


def _columns(count: int) -> int:
    """So that rows are full, or nearly, where there is room."""
    return min(count, 4) if count not in (5, 6) else 3


def _maps(found: Examined, known: Sequence[Candidate]) -> dict[str, Any] | None:
    """Maps of differences of all reconstructions on one color scale; None without any."""
    maps = {known[i]: differences(found.original, levels) for i, levels in found.sets.items()}
    if not maps:
        return None
    return {"block": next(iter(maps.values())).block, "scale": scale_for(list(maps.values())), "maps": maps}


def scale_for(maps: Sequence[Differences]) -> int:
    """The smallest scale that holds 90 % of the values of all maps."""
    largest = max(one.typical for one in maps)
    return next((scale for scale in SCALES if scale >= largest), SCALES[-1])

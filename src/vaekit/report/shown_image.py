"""An image of the page: slider, crops, difference maps, histograms."""

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
"""The available ends of the color scale of the maps, in levels."""
PLACES = {"worst": "Largest error", "busiest": "Most detail"}
"""Titles of the crops."""


@dataclass(frozen=True, eq=False)
class Examined:
    """A shown image with its reconstructions in 8-bit levels, and their measurements for the page."""

    image: ShownImage
    original: Levels
    reconstructions: Mapping[int, Levels]
    """The reconstructions by the candidate's position in the report."""
    worst: Worst | None
    busiest: Window
    counts: Mapping[int | str, NDArray[np.int64]]
    """The number of pixels at each level (4, 256), by the key of the candidate or the original."""
    nan_pixels: Mapping[str, int]
    """The number of NaN pixels, for candidates that have any."""

    @property
    def clipped(self) -> dict[int | str, NDArray[np.float64]]:
        """Shares of pixels at level 0 and at level 255, (4, 2)."""
        return {key: counts[:, [0, -1]] / counts.sum(axis=1, keepdims=True) for key, counts in self.counts.items()}


def examine(report: Report, image: ShownImage) -> Examined:
    """Measure an image for the page. Reconstructions of candidates that are not in the report are ignored.

    Raises:
        ValueError: a reconstruction has another size than the original.
    """
    original, _ = levels_of(image.original)
    results: dict[int, Levels] = {}
    nan_pixels: dict[str, int] = {}
    for i, measured in enumerate(report.candidates):
        if measured.name not in image.reconstructions:
            continue
        results[i], broken = levels_of(image.reconstructions[measured.name])
        if results[i].shape != original.shape:
            raise ValueError(f"{image.name}: {results[i].shape[:2]} of {measured.name!r} against {original.shape[:2]}")
        if broken:
            nan_pixels[measured.name] = broken
    counts = {ORIGINAL.key: level_counts(original)} | {i: level_counts(levels) for i, levels in results.items()}
    worst = worst_window(original, {report.candidates[i].name: levels for i, levels in results.items()})
    return Examined(image, original, results, worst, busiest_window(original), counts, nan_pixels)


def values_of(report: Report, examined: Examined) -> dict[str, Any]:
    """The values of a shown image, for the JSON file."""
    height, width = examined.original.shape[:2]
    worst = None
    if examined.worst is not None:
        worst = {
            **vars(examined.worst.window),
            "candidate": examined.worst.candidate,
            "rms_error": examined.worst.rms_error,
        }
    return {
        "name": examined.image.name,
        "why": examined.image.why,
        "width": width,
        "height": height,
        "crops": {"worst": worst, "busiest": vars(examined.busiest)},
        "clipped": [
            {
                "of": key if key == ORIGINAL.key else report.candidates[int(key)].name,
                "channels": {
                    channel: {"black": float(black), "white": float(white)}
                    for channel, (black, white) in zip(CHANNELS, shares, strict=True)
                },
            }
            for key, shares in examined.clipped.items()
        ],
        "nan_pixels": examined.nan_pixels,
    }


def image_view(report: Report, examined: Examined) -> dict[str, Any]:
    """One image for the template; it holds only the embedded pixels."""
    height, width = examined.original.shape[:2]
    known = candidates(report)
    levels = {ORIGINAL: examined.original} | {known[i]: each for i, each in examined.reconstructions.items()}
    large = {candidate: photograph(each) for candidate, each in levels.items()}
    measures, rows = image_table(report, examined.image.name, key_measures(report))
    by_key = {candidate.key: candidate for candidate in levels}
    return {
        "name": examined.image.name,
        "why": examined.image.why,
        "width": width,
        "height": height,
        "shown_width": large[ORIGINAL].width,
        "shown_height": large[ORIGINAL].height,
        "thumbnail": thumbnail(examined.original),
        "non_finite": examined.nan_pixels,
        "large": large,
        "measures": measures,
        "rows": rows,
        "places": _places(examined, levels),
        "maps": _maps(examined, known),
        "histograms": [
            histogram(
                channel,
                examined.counts[ORIGINAL.key][c],
                {int(key): counts[c] for key, counts in examined.counts.items() if key != ORIGINAL.key},
            )
            for c, channel in enumerate(CHANNELS)
        ],
        "clipped": {by_key[key]: [share(part) for part in shares.flat] for key, shares in examined.clipped.items()},
    }


def _places(examined: Examined, levels: Mapping[Candidate, Levels]) -> list[dict[str, Any]]:
    """The crops: the window with the largest error, if there are reconstructions, and the busiest one."""
    worst = [("worst", examined.worst.window)] if examined.worst else []
    places: list[dict[str, Any]] = []
    for name, window in (*worst, ("busiest", examined.busiest)):
        area = window.grown(MARGIN, examined.original)
        places.append(
            {
                "name": name,
                "title": PLACES[name],
                "window": window,
                "around": area,
                "lenses": {candidate: exact(area.of(each)) for candidate, each in levels.items()},
                "columns": _columns(len(levels)),
            }
        )
    if examined.worst is not None:
        worst_candidate = next(candidate for candidate in levels if candidate.name == examined.worst.candidate)
        places[0] |= {"candidate": worst_candidate, "rms_error": number(examined.worst.rms_error, 1)}
    return places


def _columns(count: int) -> int:
    """The number of columns, so that rows are full or nearly full."""
    return min(count, 4) if count not in (5, 6) else 3


def _maps(examined: Examined, known: Sequence[Candidate]) -> dict[str, Any] | None:
    """Maps of differences of all reconstructions on one color scale; None without any."""
    maps = {known[i]: differences(examined.original, levels) for i, levels in examined.reconstructions.items()}
    if not maps:
        return None
    return {"block": next(iter(maps.values())).block, "scale": scale_for(list(maps.values())), "maps": maps}


def scale_for(maps: Sequence[Differences]) -> int:
    """The smallest scale that holds 90 % of the values of all maps."""
    largest = max(one.typical for one in maps)
    return next((scale for scale in SCALES if scale >= largest), SCALES[-1])

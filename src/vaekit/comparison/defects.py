"""Find the defects of reconstructions from the signals of many images; see docs/defects.md."""

import math
import statistics
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import lru_cache
from importlib import resources

from vaekit.comparison.records import Defect
from vaekit.comparison.signals import Signals

VOCABULARY = (
    "nan",
    "fried_pixels",
    "clipped",
    "brightness_shift",
    "low_contrast",
    "high_contrast",
    "desaturated",
    "oversaturated",
    "hue_shift",
    "blurred",
    "oversharpened",
    "grid",
    "banding",
    "corner",
    "droplets",
)
"""All defects, the worst first."""

RARE = ("nan", "fried", "clipped", "pushed", "droplets")
"""Signals that are averaged over images, as a strong effect in a few images is a defect. Others use the median."""

Threshold = dict[str, float]


@lru_cache(maxsize=1)
def thresholds() -> dict[str, Threshold]:
    """The table of `defects.toml`: the threshold "least", its unit and other limits of each defect."""
    return tomllib.loads(resources.files("vaekit.comparison").joinpath("defects.toml").read_text("utf-8"))


def find_defects(images: Iterable[Signals]) -> tuple[Defect, ...]:
    """The defects of a candidate, given the signals of its images, the worst first; empty for no images."""
    all_signals = list(images)
    if not all_signals:
        return ()
    total = combined(all_signals)
    count = len(all_signals)
    defects = []
    for name in VOCABULARY:
        defect = _RULES[name](name, total, count)
        if defect is not None:
            defects.append(defect)
    return tuple(defects)


def combined(images: list[Signals]) -> Signals:
    """The signals over all images: the mean of those in RARE, the median of the others; NaN if no image has it."""
    return Signals(**{field.name: _combined(field.name, images) for field in fields(Signals)})


def _combined(name: str, images: list[Signals]) -> float:
    values = [value for each in images if not math.isnan(value := getattr(each, name))]
    if not values:
        return math.nan
    return statistics.fmean(values) if name in RARE else statistics.median(values)


Rule = Callable[[str, Signals, int], Defect | None]


def _named(name: str, size: float, evidence: str, least: float | None = None) -> Defect | None:
    """The defect if its size exceeds the threshold, which NaN never does."""
    table = thresholds()[name]
    limit = table["least"] if least is None else least
    if not size > limit:
        return None
    return Defect(name, round(size, 3), str(table["unit"]), evidence)


def _nan(name: str, s: Signals, count: int) -> Defect | None:
    if s.nan == 100 and count == 1:
        return _named(name, s.nan, "The reconstruction is a single color, or entirely non-finite.")
    return _named(
        name, s.nan, f"{s.nan:.3g} % of all values are non-finite, or are in images that became a single color."
    )


def _fried(name: str, s: Signals, _: int) -> Defect | None:
    return _named(
        name, s.fried, f"{s.fried:.0f} pixels per million differ from all their neighbors and from the original."
    )


def _clipped(name: str, s: Signals, _: int) -> Defect | None:
    if _exceeds_range(s):
        evidence = (
            f"A brightness change exceeds the range by {s.overshoot:.0f} levels and clips {{:.1f}} % of the pixels."
        )
        return _named(name, max(s.pushed, s.clipped), evidence.format(max(s.pushed, s.clipped)), 0.0)
    sharpened = _RULES["oversharpened"]("oversharpened", s, 1) is not None
    least = thresholds()[name]["least_of_oversharpened"] if sharpened else None
    return _named(
        name,
        s.clipped,
        f"{s.clipped:.1f} % of the pixels are clipped to a single level at an end of the range.",
        least,
    )


def _exceeds_range(s: Signals) -> bool:
    """Whether brightness changed so much that the clipping is the defect rather than the change."""
    table = thresholds()["clipped"]
    return s.overshoot >= table["least_overshoot"] and s.pushed >= table["least_pushed"]


def _brightness(name: str, s: Signals, _: int) -> Defect | None:
    if _exceeds_range(s):
        return None
    word = "lighter" if s.brightness > 0 else "darker"
    return _named(name, abs(s.brightness), f"Mid-gray is {abs(s.brightness):.1f} of 255 levels {word}.")


def _low_contrast(name: str, s: Signals, _: int) -> Defect | None:
    return _named(name, -s.contrast, f"The contrast of grays is {-s.contrast:.1f} % lower.")


def _high_contrast(name: str, s: Signals, _: int) -> Defect | None:
    return _named(name, s.contrast, f"The contrast of grays is {s.contrast:.1f} % higher.")


def _desaturated(name: str, s: Signals, _: int) -> Defect | None:
    return _named(
        name, -s.saturation, f"Saturation is {-s.saturation:.1f} % lower than the change of contrast explains."
    )


def _oversaturated(name: str, s: Signals, _: int) -> Defect | None:
    return _named(
        name, s.saturation, f"Saturation is {s.saturation:.1f} % higher than the change of contrast explains."
    )


def _hue(name: str, s: Signals, _: int) -> Defect | None:
    rotated = _named(name, abs(s.hue), f"Hues are rotated by {s.hue:+.1f} degrees.")
    if rotated is not None or not s.cast > thresholds()[name]["least_cast"]:
        return rotated
    return Defect(name, round(s.cast, 3), "levels of 255", f"Grays have a color cast of {s.cast:.1f} of 255 levels.")


def _blurred(name: str, s: Signals, _: int) -> Defect | None:
    return _named(
        name, s.sigma, f"Detail is blurred as by a Gaussian with a standard deviation of {s.sigma:.2f} pixels."
    )


def _oversharpened(name: str, s: Signals, _: int) -> Defect | None:
    return _named(
        name, s.boost, f"Fine detail is {s.boost:.0f} % stronger than in the original, relative to coarse detail."
    )


def _grid(name: str, s: Signals, _: int) -> Defect | None:
    return _named(
        name, s.grid, f"A pattern with an amplitude of {s.grid:.2f} of 255 levels repeats every {s.period:.0f} pixels."
    )


def _banding(name: str, s: Signals, _: int) -> Defect | None:
    return _named(name, s.levels_lost, f"{s.levels_lost:.0f} % of the levels in use are lost.")


def _corner(name: str, s: Signals, _: int) -> Defect | None:
    return _named(
        name, s.edge, f"The error of a corner or side is {s.edge:.1f} of 255 levels larger than that of the inside."
    )


def _droplets(name: str, s: Signals, _: int) -> Defect | None:
    return _named(name, s.droplets, f"{s.droplets:.0f} blobs per million pixels that the original lacks.")


_RULES: dict[str, Rule] = {
    "nan": _nan,
    "fried_pixels": _fried,
    "clipped": _clipped,
    "brightness_shift": _brightness,
    "low_contrast": _low_contrast,
    "high_contrast": _high_contrast,
    "desaturated": _desaturated,
    "oversaturated": _oversaturated,
    "hue_shift": _hue,
    "blurred": _blurred,
    "oversharpened": _oversharpened,
    "grid": _grid,
    "banding": _banding,
    "corner": _corner,
    "droplets": _droplets,
}

"""Numbers in plain words: what a VAE does to images, which is better, and why."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

from vaekit.comparison.measure_table import HEADLINES, MEASURES, badness
from vaekit.comparison.records import Comparison, Defect, Estimate

TABLE = {measure.name: measure for measure in MEASURES}
SURE = 0.05
"""p up to which a difference is told as one."""


def ranked(values: Mapping[str, Mapping[str, Sequence[float]]]) -> list[str]:
    """Names of sets, best first.

    In each headline measure and each image the sets are put in order; what counts is a set's mean place over all of
    them (Friedman 1937: ranks need no weights between decibels and color distances). Equals are told apart by PSNR.

    Args:
        values: of each set and headline measure, one value for each image, NaN where there is none.
    """
    names = list(values)
    places: dict[str, list[float]] = {name: [] for name in names}
    for measure in HEADLINES:
        for column in zip(*(values[name].get(measure, ()) for name in names), strict=True):
            if all(math.isfinite(value) for value in column):
                bad = [badness(value, TABLE[measure].better) for value in column]
                for name, own in zip(names, bad, strict=True):
                    below, equal = sum(other < own for other in bad), bad.count(own)
                    places[name].append(below + (equal + 1) / 2)
    mean = {name: statistics.fmean(found) if found else math.inf for name, found in places.items()}
    psnr = {name: statistics.fmean(values[name].get("psnr", ()) or (0.0,)) for name in names}
    return sorted(names, key=lambda name: (mean[name], -psnr[name]))


def reason_for(
    name: str,
    order: Sequence[str],
    measures: Mapping[str, Mapping[str, Estimate]],
    comparisons: Sequence[Comparison],
) -> str:
    """Why a set stands where it does: the first against the second, each other one against the one before it.

    Args:
        name: of the set.
        order: the names of all sets, best first.
        measures: of each set, its means.
        comparisons: of each pair of sets.
    """
    if len(order) == 1:
        return "The only one."
    place = order.index(name)
    other = order[1] if place == 0 else order[place - 1]
    ahead, behind, open_ = [], [], []
    for measure in HEADLINES:
        for difference in between(name, other, measure, comparisons):
            words = f"{TABLE[measure].title} {signed(difference.difference, TABLE[measure].unit)}"
            if difference.p > SURE and difference.low <= 0 <= difference.high:
                open_.append(TABLE[measure].title)
            elif better(measure, measures[name], measures[other]):
                ahead.append(words)
            else:
                behind.append(words)
    parts = [f"ahead in {listed(ahead)}"] if ahead else []
    parts += [f"behind in {listed(behind)}"] if behind else []
    parts += [f"no sure difference in {listed(open_)}"] if open_ else []
    where = "First" if place == 0 else f"Number {place + 1}"
    return f"{where}; against {other} {'; '.join(parts)}." if parts else f"{where}, by its mean place over the images."


def between(name: str, other: str, measure: str, comparisons: Sequence[Comparison]) -> Iterator[Comparison]:
    """The comparison of two sets in a measure, as first minus second of these two."""
    for one in comparisons:
        if one.measure == measure and (one.first, one.second) == (name, other):
            yield one
        elif one.measure == measure and (one.first, one.second) == (other, name):
            yield Comparison(measure, name, other, -one.difference, -one.high, -one.low, one.p)


def better(measure: str, first: Mapping[str, Estimate], second: Mapping[str, Estimate]) -> bool:
    """Whether the first of two sets is nearer to what is best."""
    one, other = (badness(each[measure].value, TABLE[measure].better) for each in (first, second))
    return one < other


def verdict(measures: Mapping[str, Estimate], defects: Sequence[Defect]) -> tuple[str, ...]:
    """Plain sentences, the most important first: faults, then color, detail, tone, patterns, text, drift."""
    value = {name: estimate.value for name, estimate in measures.items()}
    rules = (color, detail, clipping, contrast, tint, grid, text, drift)
    said = [sentence for rule in rules for sentence in rule(value)]
    return (*(defect.evidence for defect in defects), *said)


Values = Mapping[str, float]


def color(value: Values) -> Iterator[str]:
    if "delta_e" in value:
        yield (
            f"Keeps color within {value['delta_e']:.1f} dE2000 on average, "
            f"{value['delta_e_95']:.1f} for 95 % of the pixels."
        )


def detail(value: Values) -> Iterator[str]:
    kept, power = value.get("detail_1", math.nan), value.get("power_1", math.nan)
    if kept < 0.97:
        painted = " and paints some of it anew" if math.sqrt(max(power, 0.0)) - kept > 0.1 else ""
        yield f"Softens detail above half Nyquist by {100 * (1 - kept):.0f} %{painted}."
    elif math.isfinite(kept):
        yield f"Keeps {100 * min(kept, 1.0):.0f} % of the detail above half Nyquist."


def clipping(value: Values) -> Iterator[str]:
    for name, what in (("highlights_clipped", "highlights"), ("shadows_clipped", "shadows")):
        if value.get(name, 0.0) >= 0.1:
            yield f"Clips {value[name]:.1f} % of the pixels in the {what}."


def contrast(value: Values) -> Iterator[str]:
    change = 100 * (value.get("contrast", 1.0) - 1)
    if abs(change) >= 1:
        yield f"{'Raises' if change > 0 else 'Lowers'} contrast by {abs(change):.1f} %."
    chroma = value.get("chroma_bias", 0.0)
    if abs(chroma) >= 2:
        yield f"Makes colors {abs(chroma):.1f} % {'stronger' if chroma > 0 else 'paler'}."


def tint(value: Values) -> Iterator[str]:
    lighter = value.get("brightness", 0.0)
    if abs(lighter) >= 1:
        yield f"Makes images {'lighter' if lighter > 0 else 'darker'} by {abs(lighter):.1f} levels of 255."
    shifts = {name: value.get(f"{name}_shift", 0.0) for name in ("red", "green", "blue")}
    middle = statistics.fmean(shifts.values())
    name, most = max(shifts.items(), key=lambda each: abs(each[1] - middle))
    if abs(most - middle) >= 0.5:
        yield f"Shifts {name} by {most - middle:+.1f} levels against the other colors."


def grid(value: Values) -> Iterator[str]:
    if value.get("grid_flat", 0.0) >= 0.3:
        yield f"Leaves a grid of {value['grid_flat']:.1f}/255 on flat colors."


def text(value: Values) -> Iterator[str]:
    kept = value.get("text_contrast", 1.0)
    if kept < 0.9:
        wrong = f"; {value['ocr_errors']:.0f} % of the letters are misread" if "ocr_errors" in value else ""
        yield f"Text of 8 to 16 pixels keeps {100 * kept:.0f} % of its contrast{wrong}."


def drift(value: Values) -> Iterator[str]:
    if value.get("drift_psnr", 0.0) >= 1 or value.get("drift_color", 0.0) >= 2:
        yield (
            f"Eight passes lose {value['drift_psnr']:.1f} dB and shift a channel by up to "
            f"{value['drift_color']:.1f} levels."
        )


def signed(number: float, unit: str) -> str:
    """A difference with its sign: three digits that count."""
    return f"{number:+.3g}{' ' + unit if unit else ''}"


def listed(parts: Sequence[str]) -> str:
    """Parts as one phrase."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"

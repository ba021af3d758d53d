"""Measures as sentences: what a VAE does to images, which candidate is better, and why."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

from vaekit.comparison.measure_table import IMAGES
from vaekit.comparison.records import FEWEST, Comparison, Defect, Estimate, Subject
from vaekit.errors import counted
from vaekit.metrics.measure import Measure


def headlines(subject: Subject) -> list[Measure]:
    """The measures that decide the rank."""
    table = {measure.name: measure for measure in subject.measures}
    return [table[name] for name in subject.headlines]


def ranked(values: Mapping[str, Mapping[str, Sequence[float]]], subject: Subject = IMAGES) -> list[str]:
    """Names of candidates, best first.

    The candidates are ranked in each headline measure and each item, and then by the mean of these ranks (as in
    Friedman 1937: ranks need no weights between decibels and color differences). Ties are broken by the first headline
    measure: PSNR for images.

    Args:
        values: of each candidate and headline measure, one value per item, NaN where there is none.
        subject: of the comparison.
    """
    names = list(values)
    ranks: dict[str, list[float]] = {name: [] for name in names}
    first, *_ = every = headlines(subject)
    for measure in every:
        for column in zip(*(values[name].get(measure.name, ()) for name in names), strict=True):
            if all(math.isfinite(value) for value in column):
                bad = [measure.badness(value) for value in column]
                for name, own in zip(names, bad, strict=True):
                    below, equal = sum(other < own for other in bad), bad.count(own)
                    ranks[name].append(below + (equal + 1) / 2)
    mean = {name: statistics.fmean(each) if each else math.inf for name, each in ranks.items()}
    tie = {name: statistics.fmean(map(first.badness, values[name].get(first.name, ()) or (0.0,))) for name in names}
    return sorted(names, key=lambda name: (mean[name], tie[name]))


def reason_for(
    name: str,
    order: Sequence[str],
    measures: Mapping[str, Mapping[str, Estimate]],
    comparisons: Sequence[Comparison],
    subject: Subject = IMAGES,
) -> str:
    """Why a candidate has its rank: the first compared with the second, each other one with its predecessor.

    Args:
        name: of the candidate.
        order: the names of all candidates, best first.
        measures: of each candidate, its means.
        comparisons: of each pair of candidates.
        subject: of the comparison.
    """
    if len(order) == 1:
        return "The only candidate."
    place = order.index(name)
    other = order[1] if place == 0 else order[place - 1]
    ahead: list[str] = []
    behind: list[str] = []
    apart: list[str] = []
    unclear: list[str] = []
    fewest = FEWEST
    for measure in headlines(subject):
        for difference in between(name, other, measure.name, comparisons):
            change = f"{measure.title} ({signed(difference.difference, measure.unit)})"
            if not significant(difference):
                unclear.append(measure.title)
                fewest = min(fewest, difference.images)
                continue
            winner = better(difference, measure, measures)
            (apart if winner is None else ahead if winner == name else behind).append(change)
    parts = [f"better in {listed(ahead)}"] if ahead else []
    parts += [f"worse in {listed(behind)}"] if behind else []
    parts += [f"different in {listed(apart)}"] if apart else []
    too_few = (
        f" ({counted(fewest, subject.item, subject.items)}, and at least {FEWEST} are needed)"
        if fewest < FEWEST
        else ""
    )
    parts += [f"no significant difference in {listed(unclear)}{too_few}"] if unclear else []
    mean_rank = f"{'Best mean rank' if place == 0 else 'Ranked by its mean rank'} over the {subject.items}"
    return f"{mean_rank}. Compared with {other}: {'; '.join(parts)}." if parts else f"{mean_rank}."


def significant(difference: Comparison) -> bool:
    """Whether a difference is significant, by its interval and its paired test."""
    return difference.significant


def between(name: str, other: str, measure: str, comparisons: Sequence[Comparison]) -> Iterator[Comparison]:
    """The comparison of two candidates in a measure, as first minus second of these two."""
    for one in comparisons:
        if one.measure == measure and (one.first, one.second) == (name, other):
            yield one
        elif one.measure == measure and (one.first, one.second) == (other, name):
            yield Comparison(measure, name, other, -one.difference, -one.high, -one.low, one.p, one.images)


def better(one: Comparison, measure: Measure, measures: Mapping[str, Mapping[str, Estimate]]) -> str | None:
    """Which of two candidates is better, if they differ; None if no value is better, or both are equally near to it.

    The sign of the difference decides; where the best value is 0 or 1, the distances of the two means from it.

    Args:
        one: their comparison.
        measure: the measure.
        measures: of each candidate, its means.
    """
    if measure.better is None or one.difference == 0:
        return None
    if measure.better in ("higher", "lower"):
        return one.first if (one.difference > 0) == (measure.better == "higher") else one.second
    means = [measures.get(name, {}).get(measure.name) for name in (one.first, one.second)]
    if means[0] is None or means[1] is None:
        return None
    distances = [measure.badness(mean.value) for mean in means if mean is not None]
    if distances[0] == distances[1]:
        return None
    return one.first if distances[0] < distances[1] else one.second


def verdict(measures: Mapping[str, Estimate], defects: Sequence[Defect]) -> tuple[str, ...]:
    """Sentences, the most important first: defects, then color, detail, tone, patterns, text, drift."""
    value = {name: estimate.value for name, estimate in measures.items()}
    rules = (color, detail, clipping, contrast, tint, grid, text, drift)
    sentences = [sentence for rule in rules for sentence in rule(value)]
    return (*(defect.evidence for defect in defects), *sentences)


Values = Mapping[str, float]


def color(value: Values) -> Iterator[str]:
    if {"delta_e", "delta_e_95"} <= value.keys():
        yield f"Color error: mean {value['delta_e']:.1f} dE2000, 95th percentile {value['delta_e_95']:.1f}."


def detail(value: Values) -> Iterator[str]:
    kept, power = value.get("detail_1", math.nan), value.get("power_1", math.nan)
    if kept < 0.97:
        invented = " and invents other detail" if math.sqrt(max(power, 0.0)) - kept > 0.1 else ""
        yield f"Loses {100 * (1 - kept):.0f} % of the detail above half the Nyquist frequency{invented}."
    elif math.isfinite(kept):
        yield f"Keeps {100 * min(kept, 1.0):.0f} % of the detail above half the Nyquist frequency."


def clipping(value: Values) -> Iterator[str]:
    shares = {"highlights": value.get("highlights_clipped", 0.0), "shadows": value.get("shadows_clipped", 0.0)}
    parts = [f"{share:.1f} % of the pixels in the {place}" for place, share in shares.items() if share >= 0.1]
    if parts:
        yield f"Clips {listed(parts)}."


def contrast(value: Values) -> Iterator[str]:
    change = 100 * (value.get("contrast", 1.0) - 1)
    if abs(change) >= 1:
        yield f"{'Raises' if change > 0 else 'Lowers'} contrast by {abs(change):.1f} %."
    chroma = value.get("chroma_bias", 0.0)
    if abs(chroma) >= 2:
        yield f"{'Raises' if chroma > 0 else 'Lowers'} chroma by {abs(chroma):.1f} %."


def tint(value: Values) -> Iterator[str]:
    lighter = value.get("brightness", 0.0)
    if abs(lighter) >= 1:
        yield f"Makes images {'lighter' if lighter > 0 else 'darker'} by {abs(lighter):.1f} of 255 levels."
    shifts = {name: value.get(f"{name}_shift", 0.0) for name in ("red", "green", "blue")}
    middle = statistics.fmean(shifts.values())
    name, most = max(shifts.items(), key=lambda each: abs(each[1] - middle))
    if abs(most - middle) >= 0.5:
        yield f"Shifts {name} by {most - middle:+.1f} levels relative to the other channels."


def grid(value: Values) -> Iterator[str]:
    if value.get("grid_flat", 0.0) >= 0.3:
        yield f"Adds a grid of {value['grid_flat']:.1f} of 255 levels (RMS) to flat areas."


def text(value: Values) -> Iterator[str]:
    kept = value.get("text_contrast", 1.0)
    if kept < 0.9:
        misread = f"; OCR misreads {value['ocr_errors']:.0f} % of the characters" if "ocr_errors" in value else ""
        yield f"Text of 8 to 16 pixels keeps {100 * kept:.0f} % of its contrast{misread}."


def drift(value: Values) -> Iterator[str]:
    lost, shift = value.get("drift_psnr", 0.0), value.get("drift_color", 0.0)
    if lost >= 1 or shift >= 2:
        yield f"Eight round trips lose {lost:.1f} dB and shift a channel by up to {shift:.1f} levels."


def signed(number: float, unit: str) -> str:
    """A difference with its sign, to three significant digits."""
    return f"{number:+.3g}{' ' + unit if unit else ''}"


def listed(parts: Sequence[str]) -> str:
    """Parts as one phrase: "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"

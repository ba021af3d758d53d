"""The first part of the page: the ranked candidates with their key measures, and paired comparisons."""

import math
from dataclasses import dataclass
from typing import Any

from vaekit.comparison.records import SIGNIFICANT, Comparison, Estimate, Report
from vaekit.comparison.verdicts import better
from vaekit.metrics.measure import Measure
from vaekit.report.number_format import decimals, interval, number, probability, with_unit
from vaekit.report.plots import color, one_interval

KEY_MEASURES = 5
"""The number of measures in the ranking if none is marked as key."""


@dataclass(frozen=True)
class Candidate:
    """The letter, color and name of a candidate on the page."""

    key: int | str
    """Its position in the report; "original" for the original."""
    letter: str
    color: str
    name: str


def candidates(report: Report) -> list[Candidate]:
    """The candidates of a report, best first."""
    return [
        Candidate(i, chr(ord("A") + i) if i < 26 else str(i + 1), color(i), measured.name)
        for i, measured in enumerate(report.candidates)
    ]


def key_measures(report: Report) -> list[Measure]:
    """The measures marked as key; if there are none, the first that any candidate has."""
    available = [one for one in report.measures if estimates(report, one)]
    return [one for one in available if one.key] or available[:KEY_MEASURES]


def estimates(report: Report, measure: Measure) -> list[Estimate]:
    """A measure of all candidates that have it."""
    return [one for one in estimates_or_none(report, measure) if one is not None]


def estimates_or_none(report: Report, measure: Measure) -> list[Estimate | None]:
    """A measure of all candidates; None for those that lack it."""
    return [measured.measures.get(measure.name) for measured in report.candidates]


def ranking(report: Report) -> list[dict[str, Any]]:
    """A row for each candidate, best first."""
    measures = key_measures(report)
    digits = {one.name: decimals(estimates(report, one)) for one in measures}
    return [
        {
            "candidate": candidate,
            "measured": measured,
            "defects": [
                (one.name.replace("_", " "), with_unit(number(one.size, _two_digits(one.size)), one.unit), one.evidence)
                for one in measured.defects
            ],
            "measures": [
                {
                    "measure": measure,
                    "value": with_unit(number(own.value, digits[measure.name]), measure.unit),
                    "interval": interval(own.low, own.high, digits[measure.name]),
                    "plot": one_interval(estimates_or_none(report, measure), position),
                }
                for measure in measures
                if (own := measured.measures.get(measure.name)) is not None
            ],
        }
        for position, (candidate, measured) in enumerate(zip(candidates(report), report.candidates, strict=True))
    ]


def _two_digits(value: float) -> int:
    """Decimals for two significant digits, at most four."""
    return min(max(1 - math.floor(math.log10(abs(value))), 0), 4) if value and math.isfinite(value) else 0


def comparisons(report: Report) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Pairs of candidates with the measures that were compared: those to show, and those to collapse.

    If there are many pairs, only those of adjacent ranks are shown.
    """
    named = {one.name: one for one in candidates(report)}
    measures = {one.name: one for one in report.measures}
    keys = {one.name for one in key_measures(report)}
    pairs: dict[tuple[str, str], list[Comparison]] = {}
    order = list(named)
    for one in report.comparisons:
        if one.measure in measures and {one.first, one.second} <= named.keys():
            first, second = sorted((one.first, one.second), key=order.index)
            pairs.setdefault((first, second), []).append(one)
    near: list[dict[str, Any]] = []
    far: list[dict[str, Any]] = []
    for (first, second), compared in sorted(pairs.items(), key=lambda pair: [order.index(name) for name in pair[0]]):
        key = [one for one in compared if one.measure in keys] or compared
        pair = {
            "first": named[first],
            "second": named[second],
            "key": [difference(report, named, one, measures[one.measure]) for one in key],
            "rest": [difference(report, named, one, measures[one.measure]) for one in compared if one not in key],
        }
        neighbors = order.index(second) - order.index(first) == 1
        (near if neighbors or len(pairs) <= 3 else far).append(pair)
    return near, far


def difference(report: Report, named: dict[str, Candidate], one: Comparison, measure: Measure) -> dict[str, Any]:
    """One comparison for the page: which is better or higher, by how much, and whether that is significant."""
    digits = decimals([Estimate(one.difference, one.low, one.high)])
    up = one.difference >= 0
    higher = one.first if up else one.second
    winner = better(one, measure, {measured.name: measured.measures for measured in report.candidates})
    if winner is None:
        relation = "by"
    elif measure.better in ("zero", "one"):
        # The test is for the difference, not for which value is nearer to the best: so both are stated.
        relation = f"nearer to {0 if measure.better == 'zero' else 1}, difference"
    else:
        relation = f"{'higher' if winner == higher else 'lower'} by"
    return {
        "title": measure.title,
        "significant": one.significant,
        "equal": one.difference == 0,
        "higher": named[higher],
        "winner": named[winner or higher],
        "won": "better" if winner else "higher",
        "relation": relation,
        "size": with_unit(number(abs(one.difference), digits), measure.unit),
        "evidence": evidence(one, digits),
    }


def evidence(one: Comparison, digits: int) -> dict[str, str]:
    """The interval of a difference, in the direction in which it is positive, and its p-value.

    Where only one of the two denies a difference, it is the only one shown, as it decided.
    """
    ends = (one.low, one.high) if one.difference >= 0 else (-one.high, -one.low)
    shown = {"interval": interval(*ends, digits), "p": probability(one.p)}
    contains_zero, by_chance = one.low <= 0 <= one.high, one.p > SIGNIFICANT
    if contains_zero != by_chance:
        shown["interval" if by_chance else "p"] = ""
    return shown

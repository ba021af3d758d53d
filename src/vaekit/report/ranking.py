"""The first part of the page: which set is the best, why, and what each does to pictures."""

import math
from collections.abc import Sequence

from vaekit.report.html import Markup, foreign, joined, tag
from vaekit.report.measures import badness
from vaekit.report.numerals import decimals, interval, number, probability, with_unit
from vaekit.report.plots import colour, one_interval
from vaekit.report.records import Better, Comparison, Defect, Estimate, JudgedSet, Measure, Report

KEY_MEASURES = 5
"""So many are shown in the ranked table where the report marks none."""
SURE = 0.05
"""Larger p are no difference that one could build on."""


def key_measures(report: Report) -> list[Measure]:
    """Those marked as key; where none is, the first that any set has."""
    there = [one for one in report.measures if any(one.name in judged.measures for judged in report.sets)]
    return [one for one in there if one.key] or there[:KEY_MEASURES]


def badge(position: int) -> Markup:
    """The letter and colour by which a set is known everywhere on the page."""
    return tag("span", chr(ord("A") + position) if position < 26 else position + 1, class_=f"badge {colour(position)}")


def set_name(position: int, judged: JudgedSet) -> Markup:
    """A badge and the name."""
    return joined(badge(position), " ", tag("span", foreign(judged.name), class_="set-name", title=judged.name))


def ranking(report: Report) -> Markup:
    """A table with a row for each set, the best first."""
    measures = key_measures(report)
    digits = {one.name: decimals(estimates(report, one)) for one in measures}
    heads = [tag("th", text, scope="col") for text in ("Rank", "Verdict", "Key numbers, mean and 95 % interval")]
    rows = [
        tag(
            "tr",
            tag("td", judged.rank, class_="rank"),
            tag("td", _verdict(position, judged), class_="verdict"),
            tag("td", _key_numbers(report, position, measures, digits), class_="keys"),
        )
        for position, judged in enumerate(report.sets)
    ]
    return tag(
        "table",
        tag("thead", tag("tr", heads)),
        tag("tbody", rows),
        class_="ranking",
        aria_label="The sets, the best first",
    )


def estimates(report: Report, measure: Measure) -> list[Estimate]:
    """A measure of all sets that have it."""
    return [judged.measures[measure.name] for judged in report.sets if measure.name in judged.measures]


def _verdict(position: int, judged: JudgedSet) -> Markup:
    first, *rest = judged.verdict or ("Nothing was found to say.",)
    return joined(
        tag("h3", set_name(position, judged)),
        tag("p", first, class_="first"),
        tag("ul", [tag("li", sentence) for sentence in rest]) if rest else None,
        _chips(position, judged.defects),
        tag("p", tag("b", "Why this rank: "), judged.reason, class_="reason") if judged.reason else None,
    )


def _chips(position: int, defects: Sequence[Defect]) -> Markup:
    if not defects:
        return tag("p", "No defect found.", class_="sound")
    chips = [
        joined(
            tag(
                "button",
                tag("b", defect.name.replace("_", " ")),
                " ",
                with_unit(number(defect.size, _digits(defect.size)), defect.unit),
                type="button",
                class_="chip",
                aria_describedby=f"evidence-{position}-{i}",
            ),
            tag("span", defect.evidence, role="tooltip", id=f"evidence-{position}-{i}", class_="evidence"),
        )
        for i, defect in enumerate(defects)
    ]
    return tag("div", chips, class_="chips", role="group", aria_label="Defects")


def _digits(value: float) -> int:
    """Enough for two significant digits."""
    return min(max(1 - math.floor(math.log10(abs(value))), 0), 4) if value and math.isfinite(value) else 0


def _key_numbers(report: Report, position: int, measures: Sequence[Measure], digits: dict[str, int]) -> Markup:
    judged = report.sets[position]
    rows = []
    for measure in measures:
        one = judged.measures.get(measure.name)
        if one is None:
            continue
        rows.append(
            tag(
                "tr",
                tag("th", measure.title, " ", direction(measure.better), scope="row"),
                tag("td", value_and_interval(one, digits[measure.name], measure.unit)),
                tag(
                    "td",
                    one_interval([other.measures.get(measure.name) for other in report.sets], position),
                    class_="plot",
                ),
            )
        )
    return tag("table", tag("tbody", rows), class_="numbers")


def value_and_interval(one: Estimate, digits: int, unit: str) -> Markup:
    """`28.3 dB [27.1, 29.4]`."""
    return joined(
        tag("span", with_unit(number(one.value, digits), unit), class_="value"),
        " ",
        tag("span", interval(one.low, one.high, digits), class_="interval"),
    )


DIRECTIONS: dict[Better | None, tuple[str, str]] = {
    "higher": ("↑", "higher is better"),
    "lower": ("↓", "lower is better"),
    "zero": ("→ 0", "best near 0"),
    "one": ("→ 1", "best near 1"),
    None: ("", ""),
}


def direction(better: Better | None) -> Markup | None:
    """A mark that says where a measure is best."""
    sign, words = DIRECTIONS[better]
    return tag("span", sign, class_="direction", title=words, aria_label=words, role="img") if sign else None


def comparisons(report: Report) -> Markup | None:
    """Pairs of sets, each with the measures that were compared; None where nothing was."""
    if not report.comparisons:
        return None
    measures = {one.name: one for one in report.measures}
    keys = {one.name for one in key_measures(report)}
    pairs: dict[tuple[str, str], list[Comparison]] = {}
    names = {judged.name for judged in report.sets}
    for one in report.comparisons:
        if one.measure not in measures or not {one.first, one.second} <= names:
            continue
        pairs.setdefault((one.first, one.second), []).append(one)
    order = [judged.name for judged in report.sets]
    near: list[Markup] = []
    far: list[Markup] = []
    for (first, second), found in pairs.items():
        # Of many pairs those that stand next to each other tell why the order is as it is.
        neighbours = abs(order.index(first) - order.index(second)) == 1
        (near if neighbours or len(pairs) <= 3 else far).append(_pair(report, found, measures, keys))
    more = tag("details", tag("summary", f"{len(far)} more pairs"), tag("div", far, class_="pairs")) if far else None
    return joined(tag("div", near, class_="pairs"), more)


def _pair(report: Report, found: list[Comparison], measures: dict[str, Measure], keys: set[str]) -> Markup:
    positions = {judged.name: i for i, judged in enumerate(report.sets)}
    first, second = positions[found[0].first], positions[found[0].second]
    title = tag(
        "h3",
        set_name(first, report.sets[first]),
        tag("span", " against ", class_="against"),
        set_name(second, report.sets[second]),
    )
    key = [one for one in found if one.measure in keys] or found
    rest = [one for one in found if one not in key]
    return tag(
        "div",
        title,
        _sentences(report, key, measures),
        tag("details", tag("summary", f"{len(rest)} more measures"), _sentences(report, rest, measures))
        if rest
        else None,
        class_="pair",
    )


def _sentences(report: Report, found: Sequence[Comparison], measures: dict[str, Measure]) -> Markup:
    return tag("ul", [tag("li", comparison_words(report, one, measures[one.measure])) for one in found])


def comparison_words(report: Report, one: Comparison, measure: Measure) -> Markup:
    """`B taesd3 better: PSNR higher by 2.1 dB [1.8, 2.4], p < 0.001`, or that there is no sure difference."""
    digits = decimals([Estimate(one.difference, one.low, one.high)])
    up = one.difference >= 0
    higher = one.first if up else one.second
    ends = (one.low, one.high) if up else (-one.high, -one.low)
    evidence = joined(
        with_unit(number(abs(one.difference), digits), measure.unit),
        " ",
        tag("span", interval(*ends, digits), class_="interval"),
        ", ",
        tag("span", probability(one.p), class_="p"),
    )
    if not one.p < SURE or not one.difference:
        mark = tag("span", "≈", class_="badge even")
        sure = tag("span", "no sure difference" if one.difference else "no difference", class_="unsure")
        which = [" of ", _named(higher), " higher by "] if one.difference else ", "
        return joined(mark, " ", tag("span", sure, f": {measure.title}", which, evidence))
    better = _better(report, one, measure)
    who = tag("b", _named(better or higher), " better" if better else " higher")
    if better is None:
        words = [f": {measure.title} by "]
    elif measure.better in ("zero", "one"):
        # What was tested is the difference, not which of two is nearer: so both are said.
        words = [f": {measure.title} nearer to {0 if measure.better == 'zero' else 1}, difference "]
    else:
        words = [f": {measure.title} {'higher' if better == higher else 'lower'} by "]
    return joined(_known(report, better or higher), " ", tag("span", who, words, evidence))


def _known(report: Report, name: str) -> Markup:
    return badge(next(i for i, judged in enumerate(report.sets) if judged.name == name))


def _named(name: str) -> Markup:
    return tag("span", foreign(name), class_="short", title=name)


def _better(report: Report, one: Comparison, measure: Measure) -> str | None:
    """The set that is better by a measure; None where neither direction is."""
    if measure.better is None:
        return None
    if measure.better in ("higher", "lower"):
        return one.first if (one.difference > 0) == (measure.better == "higher") else one.second
    values = {
        judged.name: judged.measures[measure.name].value for judged in report.sets if measure.name in judged.measures
    }
    if one.first not in values or one.second not in values:
        return None
    return min((one.first, one.second), key=lambda name: badness(values[name], measure.better))

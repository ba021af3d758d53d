"""All measures of all sets, and what else is known: the second half of the page's words."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vaekit.report.html import Markup, joined, tag
from vaekit.report.measures import badness
from vaekit.report.numerals import decimals, number
from vaekit.report.plots import intervals
from vaekit.report.ranking import direction, estimates, set_name, value_and_interval
from vaekit.report.records import Estimate, Measure, Report, Skipped

REFERENCES = {"zero": 0.0, "one": 1.0}


def measures_table(report: Report) -> Markup:
    """A row for each measure that any set has, under the headings of their groups."""
    heads = [
        tag("th", "Measure", scope="col"),
        *(tag("th", set_name(i, judged), scope="col", class_="number") for i, judged in enumerate(report.sets)),
        tag("th", "On one axis", scope="col", class_="plot"),
    ]
    groups: dict[str, list[Measure]] = {}
    for measure in report.measures:
        if estimates(report, measure):
            groups.setdefault(measure.group, []).append(measure)
    bodies = [
        tag(
            "tbody",
            tag("tr", tag("th", group.capitalize(), colspan=len(heads), scope="rowgroup"), class_="group"),
            [_row(report, measure) for measure in measures],
        )
        for group, measures in groups.items()
    ]
    look = "measures many" if len(report.sets) > 3 else "measures"
    return scrolling(tag("table", tag("thead", tag("tr", heads)), bodies, class_=look), "All measures")


def _row(report: Report, measure: Measure) -> Markup:
    digits = decimals(estimates(report, measure))
    best = best_value(report, measure, digits)
    cells = []
    for judged in report.sets:
        one = judged.measures.get(measure.name)
        if one is None:
            cells.append(tag("td", "–", class_="number missing"))  # noqa: RUF001
            continue
        shown = value_and_interval(one, digits, "")
        won = best is not None and number(one.value, digits) == best
        cells.append(
            tag(
                "td",
                tag("span", "best: ", class_="unseen") if won else None,
                shown,
                class_="number best" if won else "number",
            )
        )
    name = joined(measure.title, " ", tag("span", measure.unit, class_="unit") if measure.unit else None)
    about = tag("details", tag("summary", name, " ", direction(measure.better)), tag("p", measure.about))
    plot = intervals([judged.measures.get(measure.name) for judged in report.sets], REFERENCES.get(str(measure.better)))
    return tag("tr", tag("th", about, scope="row"), cells, tag("td", plot, class_="plot"))


def best_value(report: Report, measure: Measure, digits: int) -> str | None:
    """The best value as it is written; None where neither direction is best, or all are written alike."""
    values = [one.value for one in estimates(report, measure) if not math.isnan(one.value)]
    written = {number(value, digits) for value in values}
    if measure.better is None or len(written) < 2:
        return None
    return number(min(values, key=lambda value: badness(value, measure.better)), digits)


def scrolling(content: Markup, label: str) -> Markup:
    """What may be wider than a phone: it scrolls inside its own frame, by finger and by keyboard."""
    return tag("div", content, class_="scrolling", tabindex=0, role="region", aria_label=label)


def facts(known: Mapping[str, Any]) -> Markup:
    """Names and values; a mapping inside becomes a list of its own."""
    entries = []
    for name, value in known.items():
        entries += [tag("dt", str(name).replace("_", " ")), tag("dd", _fact(value))]
    return tag("dl", entries, class_="facts")


def _fact(value: Any) -> Any:
    if isinstance(value, Mapping):
        return facts(value)
    if isinstance(value, list | tuple):
        return ", ".join(str(inner) for inner in value)
    return "–" if value is None else value  # noqa: RUF001


def protocol(report: Report) -> Markup:
    """How it was measured, and what was."""
    sets = [
        joined(tag("h3", set_name(i, judged)), facts(judged.about))
        for i, judged in enumerate(report.sets)
        if judged.about
    ]
    return tag(
        "details", tag("summary", "Protocol: how this was measured"), facts(report.protocol), sets, class_="protocol"
    )


def skipped(found: Sequence[Skipped]) -> Markup | None:
    """What could not be judged, and why."""
    if not found:
        return None
    lines = [tag("li", tag("b", tag("bdi", one.name)), ": ", one.reason) for one in found]
    count = "One picture was" if len(found) == 1 else f"{len(found)} pictures were"
    return tag(
        "section", tag("h2", "Skipped"), tag("p", f"{count} left out of all numbers."), tag("ul", lines), id="skipped"
    )


def picture_numbers(report: Report, name: str, measures: Sequence[Measure]) -> Markup | None:
    """The key measures of one picture, by set; None where it was not judged."""
    found = [{one.name: one for one in judged.pictures}.get(name) for judged in report.sets]
    if not any(found):
        return None
    told = [measure for measure in measures if any(one and measure.name in one.measures for one in found)]
    columns = [
        [Estimate(one.measures[measure.name]) if one and measure.name in one.measures else None for one in found]
        for measure in told
    ]
    digits = [min(decimals([one for one in column if one]), 3) for column in columns]
    heads = [
        tag(
            "th",
            measure.title,
            " ",
            tag("span", measure.unit, class_="unit") if measure.unit else None,
            scope="col",
            class_="number",
        )
        for measure in told
    ]
    rows = [
        tag(
            "tr",
            tag("th", set_name(i, judged), scope="row"),
            [
                tag("td", number(one.value, places) if (one := column[i]) else "–", class_="number")  # noqa: RUF001
                for column, places in zip(columns, digits, strict=True)
            ],
        )
        for i, judged in enumerate(report.sets)
        if found[i]
    ]
    head = tag("thead", tag("tr", tag("td"), heads))
    return scrolling(tag("table", head, tag("tbody", rows), class_="picture-numbers"), "Numbers of this picture")

"""Tables of the page: all measures of all candidates, and the key measures of one image."""

import math
from collections.abc import Sequence
from typing import Any

from vaekit.comparison.records import Estimate, Report
from vaekit.metrics.measure import Measure
from vaekit.report.number_format import decimals, interval, number
from vaekit.report.plots import intervals
from vaekit.report.ranking import Candidate, candidates, estimates, estimates_or_none

REFERENCES = {"zero": 0.0, "one": 1.0}


def measures_table(report: Report) -> dict[str, list[dict[str, Any]]]:
    """A row for each measure that any candidate has, by group."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for measure in report.measures:
        if estimates(report, measure):
            groups.setdefault(measure.group, []).append(_row(report, measure))
    return groups


def _row(report: Report, measure: Measure) -> dict[str, Any]:
    row = estimates_or_none(report, measure)
    digits = decimals(estimates(report, measure))
    best = best_value(report, measure, digits)
    cells = [
        {
            "value": (value := number(one.value, digits)),
            "interval": interval(one.low, one.high, digits),
            "best": value == best,
        }
        if one is not None
        else None
        for one in row
    ]
    return {"measure": measure, "cells": cells, "plot": intervals(row, REFERENCES.get(str(measure.better)))}


def best_value(report: Report, measure: Measure, digits: int) -> str | None:
    """The best value as it is displayed; None if no direction is better, or all are displayed alike."""
    values = [one.value for one in estimates(report, measure) if not math.isnan(one.value)]
    displayed = {number(value, digits) for value in values}
    if measure.better is None or len(displayed) < 2:
        return None
    return number(min(values, key=measure.badness), digits)


def image_table(
    report: Report, name: str, measures: Sequence[Measure]
) -> tuple[list[Measure], list[tuple[Candidate, list[str | None]]]]:
    """The measures of one image that any candidate has, and the values of each candidate that was measured on it."""
    of_image = [{one.name: one.measures for one in measured.images}.get(name) for measured in report.candidates]
    available = [measure for measure in measures if any(measure.name in (values or {}) for values in of_image)]
    columns = {
        measure.name: [Estimate(values[measure.name]) for values in of_image if values and measure.name in values]
        for measure in available
    }
    digits = {name: min(decimals(column), 3) for name, column in columns.items()}
    rows = [
        (
            candidate,
            [number(values[one.name], digits[one.name]) if one.name in values else None for one in available],
        )
        for candidate, values in zip(candidates(report), of_image, strict=True)
        if values is not None
    ]
    return available, rows

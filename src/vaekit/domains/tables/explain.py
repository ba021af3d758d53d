"""Why a row is improbable: its columns with their values, what was expected, and their contributions."""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vaekit.distributions.cells import UNSEEN
from vaekit.domains.attribution import Attribution, Explanation, Reason
from vaekit.domains.tables.columns import NUMERIC, Column
from vaekit.domains.tables.impute import SAMPLES, as_array, imputed
from vaekit.domains.tables.schema import TableSchema

UNKNOWN = "(not in the training data)"
"""The text of a category that training never saw."""


def explain_row(found: Attribution, schema: TableSchema) -> Explanation:
    """The columns of a row, the largest contribution first; without missing cells, which contribute nothing.

    What is expected is the median of numbers and the most probable category, given all cells of the row.
    """
    samples = as_array(found.sample(SAMPLES))
    weights = np.full(SAMPLES, 1 / SAMPLES)
    row, slots = as_array(found.x), schema.slots()
    reasons: list[Reason] = []
    for column, nats in zip(schema.ordered, found.nats[0].tolist(), strict=True):
        text = cell_text(column, row[:, slots[column.name]])
        if not text:
            continue
        likely = imputed(column, samples[:, slots[column.name]], weights, found.name)
        interval = f"{likely.low} to {likely.high}" if likely.probability is None else f"p = {likely.probability:.2f}"
        reasons.append(Reason(column.name, text, likely.value, nats, interval))
    reasons.sort(key=lambda reason: -reason.nats)
    return Explanation(found.name, float(found.nats.double().sum()), reasons)


def cell_text(column: Column, values: NDArray[np.float64]) -> str:
    """A cell from its values (1, width), also of numbers outside the range of the training data; empty for a missing
    one."""
    if column.kind not in NUMERIC and ((values == UNSEEN).all() or (column.width > 1 and not values.any())):
        return UNKNOWN
    return replace(column, low=-math.inf, high=math.inf).decode(values)[0]

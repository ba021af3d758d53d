"""Measures of rows and their reconstructions."""

from collections.abc import Mapping

import torch
from torch import Tensor

from vaekit.domains.tables.columns import BERNOULLI, NUMERIC, ONE_HOT
from vaekit.domains.tables.schema import TableSchema
from vaekit.evaluation.measures import ItemMeasure
from vaekit.evaluation.vae_pass import VAEPass
from vaekit.metrics.measure import Measure

RMSE = Measure(
    "rmse",
    "RMSE",
    "standard deviations",
    "lower",
    "Root mean squared error of a row's numbers, in units of each column's scale.",
)
ACCURACY = Measure(
    "accuracy", "accuracy", "", "higher", "Share of a row's binary and categorical cells that come back as they were."
)


def row_errors(schema: TableSchema) -> ItemMeasure:
    """The reconstruction error of the observed cells of rows: of numbers, and of categories, as far as there are
    some."""
    slots = schema.slots()
    numbers = [slots[column.name].start for column in schema.ordered if column.kind in NUMERIC]
    binary = [slots[column.name].start for column in schema.ordered if column.likelihood == BERNOULLI]
    one_hot = [slots[column.name] for column in schema.ordered if column.likelihood == ONE_HOT]

    def compute(vae_pass: VAEPass) -> Mapping[str, Tensor]:
        x, result = vae_pass.x, vae_pass.result
        values = {}
        if numbers:
            values[RMSE.name] = (result - x)[:, numbers].square().nanmean(dim=1).sqrt()
        right = [
            *((result[:, [slot]] - x[:, [slot]]).abs() < 0.5 for slot in binary),
            *((result[:, each].argmax(dim=1) == x[:, each].argmax(dim=1))[:, None] for each in one_hot),
        ]
        if right:
            places = [*binary, *(each.start for each in one_hot)]
            observed = torch.cat(right, dim=1).to(x.dtype).where(~x[:, places].isnan(), torch.nan)
            values[ACCURACY.name] = observed.nanmean(dim=1)
        return values

    quantities = [RMSE] * bool(numbers) + [ACCURACY] * bool(binary or one_hot)
    return ItemMeasure(tuple(quantities), compute)

"""Measures of rows and their reconstructions."""

from collections.abc import Mapping

import torch
from torch import Tensor

from vaekit.domains.tables.schema import BINARY, NORMAL, TableSchema
from vaekit.evaluation.measures import ItemMeasure
from vaekit.evaluation.vae_pass import VAEPass
from vaekit.metrics.measure import Measure

RMSE = Measure(
    "rmse",
    "RMSE",
    "standard deviations",
    "lower",
    "Root mean squared error of a row's numbers, in units of each column.",
)
ACCURACY = Measure(
    "binary_accuracy", "accuracy", "", "higher", "Share of a row's two-valued columns that come back as they were."
)


def row_errors(schema: TableSchema) -> ItemMeasure:
    """The reconstruction error of rows: of numbers, and of two-valued columns, as far as there are some."""
    numbers = schema.count(NORMAL)

    def compute(vae_pass: VAEPass) -> Mapping[str, Tensor]:
        error = vae_pass.result - vae_pass.x
        values = {}
        if numbers:
            values[RMSE.name] = error[:, :numbers].square().mean(dim=1).sqrt()
        if schema.count(BINARY):
            values[ACCURACY.name] = (error[:, numbers:].abs() < 0.5).to(torch.float32).mean(dim=1)
        return values

    quantities = [RMSE] * bool(numbers) + [ACCURACY] * bool(schema.count(BINARY))
    return ItemMeasure(tuple(quantities), compute)

"""Fill in missing cells of rows from the cells that are there.

The posterior q(z|x) of the observed cells is corrected by importance sampling (Mattei & Frellsen 2019, arXiv
1812.02633, eq. 12): samples x_k ~ p(x|z_k), z_k ~ q(z|x), have weights p(x_observed|z_k) p(z_k) / q(z_k|x).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaekit.domains.imputation import ImputedItems, ImputedValue
from vaekit.domains.tables.columns import BINARY, NUMERIC, Column
from vaekit.domains.tables.csv_files import write_csv
from vaekit.domains.tables.schema import TableSchema
from vaekit.evaluation.vae_pass import VAEPass, select_item
from vaekit.vae import VAE

SAMPLES = 256
"""Of the posterior of each row with missing cells."""
QUANTILES = (0.05, 0.5, 0.95)
"""Of the interval and the value of a number."""


def impute(schema: TableSchema, vae: VAE, vae_pass: VAEPass, rows: Sequence[Mapping[str, str]]) -> ImputedItems:
    """Rows without missing cells: the others stay as they are in the file.

    Args:
        schema: of the rows.
        vae: that runs them; without a prior, samples are not weighted.
        vae_pass: the rows as the VAE takes them.
        rows: column to cell, as in the file.
    """
    missing = vae_pass.x.isnan()
    values: list[ImputedValue] = []
    items: list[Mapping[str, str]] = []
    slots = schema.slots()
    for row, original in enumerate(rows):
        gaps = [column for column in schema.columns if missing[row, slots[column.name].start]]
        if not gaps:
            items.append(original)
            continue
        samples, weights = weighted_samples(vae, vae_pass, row)
        found = [imputed(column, samples[:, slots[column.name]], weights, vae_pass.names[row]) for column in gaps]
        values += found
        items.append({**original, **{each.place: each.value for each in found}})
    return ImputedItems(items, values)


def weighted_samples(vae: VAE, vae_pass: VAEPass, row: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Samples of a row (k, n), and their weights (k,), which sum to 1."""
    generator = vae_pass.generator(row, "impute")
    posterior = select_item(vae_pass.posterior, row, SAMPLES)
    z = posterior.sample(generator)
    x = vae_pass.x[row : row + 1].expand(SAMPLES, -1)
    likelihood = vae_pass.runner.likelihood(z, x)
    samples = likelihood.sample(generator)
    prior = vae.prior
    log_weights = torch.zeros(SAMPLES) if prior is None else prior.log_prob(z) - posterior.log_prob(z)
    return as_array(samples), as_array((likelihood.log_prob(x) + log_weights).double().softmax(dim=0))


def as_array(values: Tensor) -> NDArray[np.float64]:
    """A tensor as an array in double precision."""
    return values.double().numpy(force=True)


def imputed(column: Column, samples: NDArray[np.float64], weights: NDArray[np.float64], name: str) -> ImputedValue:
    """The value of a missing cell from samples (k, width): the median of numbers, or the most probable category."""
    if column.kind in NUMERIC:
        low, middle, high = column.decode(weighted_quantiles(samples[:, 0], weights)[:, None])
        return ImputedValue(name, column.name, middle, low, high)
    if column.kind == BINARY:
        one = float(weights @ samples[:, 0])
        return ImputedValue(name, column.name, column.values[int(one > 0.5)], probability=max(one, 1 - one))
    shares = weights @ samples
    return ImputedValue(name, column.name, column.values[int(shares.argmax())], probability=float(shares.max()))


def weighted_quantiles(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The quantiles of weighted values: the smallest values with at least this weight up to them.

    >>> weighted_quantiles(np.array([3.0, 1.0, 2.0]), np.array([0.2, 0.4, 0.4])).tolist()
    [1.0, 2.0, 3.0]
    """
    order = values.argsort()
    sums = weights[order].cumsum()
    places = np.searchsorted(sums, np.array(QUANTILES) * sums[-1])
    return values[order][np.minimum(places, len(values) - 1)]


def write_values(values: Sequence[ImputedValue], path: Path) -> None:
    """Write the cells that were filled in as CSV: row, column, value, 90 % interval or probability.

    Raises:
        CannotWrite: the disk is full, or the like.
    """
    header = ["row", "column", "value", "low", "high", "probability"]
    rows = (
        [each.item, each.place, each.value, each.low, each.high, probability_text(each.probability)] for each in values
    )
    write_csv(path, [header, *rows])


def probability_text(probability: float | None) -> str:
    """A probability with three decimals; empty for none."""
    return "" if probability is None else f"{probability:.3f}"

"""Compare synthetic rows with the rows that a VAE was trained on."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from vaekit.datasets.dataset import Row
from vaekit.domains.sample_quality import SampleQuality
from vaekit.domains.tables.columns import BINARY, NUMERIC
from vaekit.domains.tables.schema import TableSchema
from vaekit.metrics.measure import Measure
from vaekit.metrics.synthetic import (
    Codes,
    Floats,
    association_difference,
    associations,
    closer_share,
    copies,
    kolmogorov_smirnov,
    nearest_distances,
    total_variation,
    two_sample_auroc,
)

MOST_ROWS = 10_000
"""Rows of each kind."""
MOST_VALUES = 2**26
"""Values of these rows: of wide rows, fewer are compared."""
MOST_COLUMNS = 200
"""Columns of each kind whose pairs are compared; the first ones."""
MOST_FEATURES = 1000
"""Values of a row that the classifier sees; of more, a random choice."""
MARGINS = Measure(
    "marginal_distance",
    "distance of columns",
    "",
    "lower",
    "Mean over columns of the Kolmogorov-Smirnov distance of numbers and the total variation of categories.",
    format=".3f",
)
ASSOCIATIONS = Measure(
    "association_difference",
    "difference of correlations",
    "",
    "lower",
    "Mean absolute difference of correlations (Pearson, Cramer's V, correlation ratio) of pairs of columns.",
    format=".3f",
)
CLASSIFIER = Measure(
    "classifier_auroc",
    "real or synthetic, AUROC",
    "",
    "lower",
    "How well gradient-boosted trees tell synthetic rows from real ones; 0.5 if they cannot.",
    format=".3f",
)
CLOSER = Measure(
    "closer_share",
    "closer to training rows",
    "",
    None,
    "Probability that a synthetic row is closer to a training row than a real held-out row is; 0.5 for new rows, "
    "1 for copies.",
    format=".3f",
)
COPIES = Measure("copies", "copies of training rows", "rows", "lower", "Rows that equal a training row.", format=",.0f")
MEASURES = (MARGINS, ASSOCIATIONS, CLASSIFIER, CLOSER, COPIES)


def compare_items(
    schema: TableSchema, train: Tensor, held_out: Tensor, samples: Sequence[Mapping[str, str]], seed: int
) -> SampleQuality:
    """Compare synthetic rows as they are written, column to cell, with real ones; see `compare_rows`."""
    rows = [Row(f"sample {number}", values) for number, values in enumerate(samples, start=1)]
    return compare_rows(schema, train, held_out, schema.to_tensor(rows), seed)


def compare_rows(schema: TableSchema, train: Tensor, held_out: Tensor, samples: Tensor, seed: int) -> SampleQuality:
    """Compare synthetic rows with real ones, all as the VAE takes them.

    Synthetic rows get the missing cells of real rows, so that these do not tell them apart.

    Args:
        schema: of the rows.
        train: rows that the VAE was trained on (n, w).
        held_out: rows that it was not trained on; may be empty.
        samples: synthetic rows (m, w).
        seed: of the choice of rows, and of the classifier.

    Raises:
        MissingPackage: scikit-learn is not installed.
    """
    generator = torch.Generator().manual_seed(seed % 2**63)
    train, samples = chosen(train, generator), chosen(samples, generator)
    masked = with_missing_cells(samples, train, generator)
    parts = marginal_distances(schema, train, masked)
    finite = [value for value in parts.values() if math.isfinite(value)]
    pairs = [associations(*(each[:, :MOST_COLUMNS] for each in split(schema, rows))) for rows in (train, masked)]
    apart = float("nan")
    if len(held_out):
        near = [nearest_distances(filled(rows), filled(train)) for rows in (masked, chosen(held_out, generator))]
        apart = closer_share(*near)
    features = torch.randperm(train.shape[1], generator=generator)[:MOST_FEATURES]
    values = {
        MARGINS.name: sum(finite) / len(finite) if finite else float("nan"),
        ASSOCIATIONS.name: association_difference(*pairs),
        CLASSIFIER.name: two_sample_auroc(train[:, features].numpy(), masked[:, features].numpy(), seed),
        CLOSER.name: apart,
        COPIES.name: float(copies(samples.numpy(), train.numpy())),
    }
    largest_first = dict(sorted(parts.items(), key=lambda each: -np.nan_to_num(each[1])))
    return SampleQuality(values, MEASURES, largest_first, "column")


def chosen(rows: Tensor, generator: torch.Generator) -> Tensor:
    """At most `MOST_ROWS` rows, in random order."""
    return rows[torch.randperm(len(rows), generator=generator)[: most_rows(rows.shape[1])]]


def most_rows(width: int) -> int:
    """The maximum number of rows of this width."""
    return max(1, min(MOST_ROWS, MOST_VALUES // width))


def with_missing_cells(samples: Tensor, real: Tensor, generator: torch.Generator) -> Tensor:
    """Samples with the missing cells of random real rows."""
    drawn = torch.randint(len(real), (len(samples),), generator=generator)
    return samples.masked_fill(real[drawn].isnan(), torch.nan)


def filled(rows: Tensor) -> Floats:
    """Rows with the center of the data in place of missing cells."""
    return rows.nan_to_num(nan=0.0).double().numpy()


def marginal_distances(schema: TableSchema, real: Tensor, samples: Tensor) -> dict[str, float]:
    """The distance of the distributions of each column."""
    (numbers, categories), (others, other_categories) = (split(schema, rows) for rows in (real, samples))
    names = [[c.name for c in schema.ordered if (c.kind in NUMERIC) == numeric] for numeric in (True, False)]
    return {
        **{name: kolmogorov_smirnov(numbers[:, i], others[:, i]) for i, name in enumerate(names[0])},
        **{name: total_variation(categories[:, i], other_categories[:, i]) for i, name in enumerate(names[1])},
    }


def split(schema: TableSchema, rows: Tensor) -> tuple[Floats, Codes]:
    """The numbers (n, p) and categories (n, q) of rows: a value that the VAE has not seen is a category of its own."""
    slots = schema.slots()
    numbers, categories = [np.empty((len(rows), 0))], [np.empty((len(rows), 0), np.int64)]
    for column in schema.ordered:
        values = rows[:, slots[column.name]].double().numpy()
        if column.kind in NUMERIC:
            numbers.append(values)
            continue
        if column.kind == BINARY:
            found = np.where(values[:, 0] < 0, 2, values[:, 0] > 0.5).astype(np.int64)
        else:
            found = np.where(np.nan_to_num(values).any(axis=1), np.nan_to_num(values).argmax(axis=1), column.width)
        categories.append(np.where(np.isnan(values[:, 0]), -1, found)[:, None])
    return np.concatenate(numbers, axis=1), np.concatenate(categories, axis=1)

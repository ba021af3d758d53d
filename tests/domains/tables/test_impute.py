"""Missing cells are filled in, and nothing else changes."""

import numpy as np
import torch
from small_tables import columns, rows, table_vae

from vaekit.domains.imputation import ImputedItems
from vaekit.domains.tables.impute import impute, weighted_quantiles
from vaekit.evaluation.vae_pass import DirectRunner, VAEPass

TABLE = columns()
GAPS = {
    name: ["" if (i + k) % 4 == 0 else cell for i, cell in enumerate(cells)]
    for k, (name, cells) in enumerate(TABLE.items())
}


def imputed(order: list[int]) -> ImputedItems:
    vae, schema = table_vae(TABLE)
    chosen = [rows(GAPS)[i] for i in order]
    x = schema.to_tensor(chosen)
    passed = VAEPass(tuple(row.name for row in chosen), x, DirectRunner(vae), 0, sampled=False)
    with torch.no_grad():
        return impute(schema, vae, passed, [row.values for row in chosen])


def test_observed_cells_stay_and_missing_ones_are_filled() -> None:
    result = imputed(list(range(12)))
    gaps = sum(not cell for cells in GAPS.values() for cell in cells[:12])
    assert len(result.values) == gaps > 0
    for before, after in zip(rows(GAPS)[:12], result.items, strict=True):
        assert list(after) == list(before.values)
        assert all(after[name] == cell if cell else after[name] for name, cell in before.values.items())


def test_a_row_is_filled_alike_alone_and_among_others() -> None:
    together = imputed([0, 1, 2, 3])
    assert [imputed([i]).items[0] for i in (3, 0)] == [together.items[3], together.items[0]]


def test_intervals_hold_the_value_and_probabilities_are_of_categories() -> None:
    for value in imputed(list(range(24))).values:
        if value.place in ("ill", "color"):
            assert value.probability is not None and 0.3 < value.probability <= 1
            assert value.value in TABLE[value.place] and not value.low
        elif value.place == "day":
            assert value.low <= value.value <= value.high
        else:
            assert float(value.low) <= float(value.value) <= float(value.high)


def test_quantiles_of_weighted_values() -> None:
    values, weights = np.arange(101.0), np.full(101, 1 / 101)
    assert weighted_quantiles(values, weights).tolist() == [5, 50, 95]
    weights[:100] = 0
    assert weighted_quantiles(values, weights).tolist() == [100, 100, 100]

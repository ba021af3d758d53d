"""Reconstruction errors of columns."""

import json
from pathlib import Path

import pytest
import torch
from small_tables import columns, rows, save_table_vae, table_vae, write_table
from torch import Tensor

from vaekit.domains.tables.column_errors import column_errors
from vaekit.domains.tables.schema import TableSchema, fit
from vaekit.evaluation.measures import Result
from vaekit.evaluation.vae_pass import DirectRunner, VAEPass
from vaekit.tasks.model import open_model
from vaekit.tasks.options import EngineOptions, ModelOptions
from vaekit.tasks.reconstruct import reconstruct

TABLE = columns()


def result_of(schema: TableSchema, x: Tensor, result: Tensor, batch: int = 1000) -> dict[str, Result]:
    """The results for rows that come back as `result`."""
    measure = column_errors(schema)
    assert measure is not None
    vae, _ = table_vae(TABLE)
    pool = measure.pool()
    for start in range(0, len(x), batch):
        part = slice(start, start + batch)
        names = tuple(map(str, range(len(x[part]))))
        vae_pass = VAEPass(names, x[part], DirectRunner(vae), 0, False)
        vae_pass.__dict__["result"] = result[part]
        pool.add(measure.rows(vae_pass))
    return {each.quantity.title: each for each in pool.result().results}


def shifted(table: dict[str, list[str]], **cells: list[str]) -> dict[str, list[str]]:
    return {**table, **cells}


def test_errors_are_in_the_units_of_the_data() -> None:
    schema = fit(rows(TABLE))
    x = schema.to_tensor(rows(TABLE))
    sizes = [f"{float(cell) + 0.5:.2f}" if float(cell) < 3 else f"{float(cell) - 0.5:.2f}" for cell in TABLE["size"]]
    later = ["2024-01-28" if cell == "2024-01-27" else cell for cell in TABLE["day"]]
    colors = ["red"] * len(sizes)
    result = schema.to_tensor(rows(shifted(TABLE, size=sizes, day=later, color=colors)))
    found = result_of(schema, x, result)
    assert found["size"].value == pytest.approx(0.5, rel=1e-3)
    assert found["day"].value * 60 == pytest.approx(TABLE["day"].count("2024-01-27"), rel=1e-3)
    assert (found["day"].quantity.unit, found["color"].quantity.unit) == ("days", "of cells wrong")
    assert found["color"].value == pytest.approx(0.5)
    assert found["income"].value == found["ill"].value == 0
    assert found["color"].count == 60 and found["color"].low is not None
    assert next(iter(found)) == "color" and set(list(found)[3:]) == {"ill", "income", "grade", "links"}


@pytest.mark.parametrize("batch", [1, 7])
def test_missing_cells_do_not_count_and_batches_make_no_difference(batch: int) -> None:
    schema = fit(rows(TABLE))
    gaps = shifted(TABLE, size=["", *TABLE["size"][1:]], color=[""] * 60)
    x = schema.to_tensor(rows(gaps))
    result = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    found = result_of(schema, x, result)
    assert "color" not in found and (found["size"].count, found["size"].not_finite) == (59, 0)
    assert result_of(schema, x, result, batch) == found


def test_constant_columns_have_no_errors() -> None:
    schema = fit(rows({"a": ["x"] * 5}))
    assert column_errors(schema) is None


def test_reconstruct_names_the_worst_columns(tmp_path: Path) -> None:
    vae = save_table_vae(tmp_path / "v.safetensors", TABLE)
    data = write_table(tmp_path / "t.csv", TABLE)
    model = open_model(ModelOptions(str(vae)), EngineOptions(device="cpu"))
    (found,) = reconstruct(model, [data], tmp_path / "out").results
    parts = vars(found)["parts"]
    assert set(parts) == set(TABLE)
    assert f"largest errors: {next(iter(parts))} " in found.notes[-1]
    json.dumps(parts)

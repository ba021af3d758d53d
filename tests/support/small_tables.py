"""A small table with columns of all kinds, and an untrained VAE of its rows."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from vaekit.checkpoints.save import save
from vaekit.datasets.dataset import Row
from vaekit.domains.tables.columns import STUDENT
from vaekit.domains.tables.schema import TableSchema, fit
from vaekit.families import PARTS, assemble
from vaekit.families.parts.net import GaussianPart, PartsConfig
from vaekit.identification.metadata import domain_notes
from vaekit.nets.column_likelihoods import ColumnsPart
from vaekit.nets.rows import RowsConfig
from vaekit.vae import VAE

ROWS = 60


def columns(count: int = ROWS, seed: int = 0) -> dict[str, list[str]]:
    """Cells by column."""
    random = np.random.default_rng(seed)
    return {
        "ill": ["yes", "no", "no"] * (count // 3),
        "size": [f"{value:.2f}" for value in random.normal(3, 2, count)],
        "income": [f"{value:.2f}" for value in random.lognormal(7, 2, count)],
        "color": ["red", "green", "blue", "red"] * (count // 4),
        "grade": ["1", "2", "3", "4", "5", "2"] * (count // 6),
        "links": [str(int(value)) for value in random.lognormal(3, 2, count)],
        "day": [f"2024-0{1 + number % 3}-{1 + number % 28:02}" for number in range(count)],
    }


def rows(table: dict[str, list[str]]) -> list[Row]:
    """Rows of a table by columns."""
    count = len(next(iter(table.values())))
    return [Row(f"t.csv:{i + 2}", {name: cells[i] for name, cells in table.items()}) for i in range(count)]


def write_table(path: Path, table: dict[str, list[str]]) -> Path:
    """Write a table as CSV."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([list(table), *zip(*table.values(), strict=True)])
    return path


def table_config(schema: TableSchema, latent: int = 2, hidden: Sequence[int] = (8,)) -> PartsConfig:
    """The config of a VAE of rows."""
    likelihood = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in schema.vae_settings()["likelihood"].items()
    }
    net = RowsConfig((schema.width,), latent, tuple(hidden), "silu")
    return PartsConfig(net, GaussianPart(), ColumnsPart(**likelihood, variance="each", floor=0.1))


def table_vae(table: dict[str, list[str]]) -> tuple[VAE, TableSchema]:
    """An untrained VAE of the rows of a table."""
    torch.manual_seed(0)
    schema = fit(rows(table), {}, STUDENT)
    vae = assemble(PARTS, table_config(schema)).eval()  # type: ignore[arg-type]
    return vae, schema


def save_table_vae(path: Path, table: dict[str, list[str]]) -> Path:
    """The same as a file."""
    vae, schema = table_vae(table)
    save(vae, path, notes=domain_notes("tables", schema.as_plain()))
    return path

"""Held-out log-likelihood of tables with columns of several kinds, beside the same VAE with every column Gaussian; and
whether samples keep the types and ranges of the data.

    python bench/tables.py [--seeds 3]

Both VAEs are trained by the recipe `tables` for the same number of samples on the same four fifths of the rows. The
Gaussian one takes categories as the numbers 0, 1, 2, .... The log-likelihood is that of the data as they are: densities
per unit of the column, and for columns of integers and categories the probability of the value; a Gaussian has that of
the interval of half a step around it. By importance sampling with 256 latents.
"""

import argparse
import csv
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_wine
from torch import Tensor

from vaekit import load
from vaekit.datasets.row_chunks import RowChunk, texts_array
from vaekit.distributions import Columns, Normal
from vaekit.domains.find import domain_of
from vaekit.domains.tables.columns import BINARY, CATEGORICAL, CONSTANT, COUNTS, POSITIVE, STEPS, Column
from vaekit.domains.tables.schema import TableSchema
from vaekit.tasks.train import TrainOptions, train
from vaekit.vae import VAE

SAMPLES, DRAWS = 60_000, 256
Table = Mapping[str, list[str]]


def measured(data: object) -> dict[str, list[str]]:
    """A data set of scikit-learn, with its classes as a column of texts."""
    names = [str(name).replace(" ", "_") for name in data.feature_names]  # type: ignore[attr-defined]
    columns = {name: [repr(float(v)) for v in data.data[:, i]] for i, name in enumerate(names)}  # type: ignore[attr-defined]
    return {**columns, "class": [str(data.target_names[y]) for y in data.target]}  # type: ignore[attr-defined]


def mixed(count: int = 3000) -> dict[str, list[str]]:
    """A table with known structure: three groups of customers, from which all columns follow; 5 % of the cells of two
    columns are missing."""
    random = np.random.default_rng(0)
    group = random.choice(3, count, p=(0.5, 0.3, 0.2))
    age = 30 + 15 * group + random.standard_t(4, count) * 4
    income = np.exp(7 + 0.8 * group + 0.03 * (age - 40) + random.normal(0, 0.5, count))
    visits = random.poisson(np.array([2, 12, 40])[group])
    grade = np.clip(np.round(3 + group - 0.5 + random.normal(0, 0.8, count)), 1, 6).astype(int)
    member = random.random(count) < np.array([0.1, 0.5, 0.95])[group]
    city = [random.choice(["Rome", "Oslo", "Lima", "Bern"], p=np.roll([0.7, 0.1, 0.1, 0.1], g)) for g in group]
    day = 18_000 + 300 * group + random.integers(0, 200, count)
    texts = {
        "age": [f"{v:.1f}" for v in age],
        "income": [f"{v:.2f}" for v in income],
        "visits": [str(v) for v in visits],
        "grade": [str(v) for v in grade],
        "member": ["yes" if v else "no" for v in member],
        "city": [str(v) for v in city],
        "day": [str(np.datetime64(int(v), "D")) for v in day],
    }
    for name in ("age", "city"):
        texts[name] = ["" if random.random() < 0.05 else text for text in texts[name]]
    return texts


def gaussian(table: Table, schema: TableSchema) -> tuple[dict[str, list[str]], dict[str, float]]:
    """A table with numbers only, and the step of the columns whose values are discrete."""
    numbers: dict[str, list[str]] = {}
    steps: dict[str, float] = {}
    for column in schema.columns:
        cells = table[column.name]
        if column.kind in (BINARY, CATEGORICAL, CONSTANT):
            numbers[column.name] = [str(column.values.index(cell)) if cell else "" for cell in cells]
            steps[column.name] = 1.0
        elif column.kind == "date":
            numbers[column.name] = [repr(v) if v == v else "" for v in column.parse(texts_array(cells)).tolist()]
        else:
            numbers[column.name] = list(cells)
            if column.likelihood in (STEPS, COUNTS):
                steps[column.name] = column.step or 1.0
    return numbers, steps


@dataclass(frozen=True)
class Units:
    """From the log-likelihood of a VAE's values to that of the data."""

    schema: TableSchema
    steps: Mapping[str, float]
    """Of discrete columns that a VAE takes as continuous."""

    def factors(self, likelihood: Columns, x: Tensor) -> Tensor:
        """log p of each column of rows, in the units of the data, (b, columns)."""
        factors = likelihood.log_factors(x)
        for place, column in enumerate(self.schema.ordered):
            if column.name in self.steps:
                factors[:, place] = self._mass(likelihood, x, place, column)
            elif column.likelihood in ("student", "normal"):
                own = x[:, self.schema.slots()[column.name].start]
                factors[:, place] += torch.where(own.isnan(), 0, log_slope(column, own))
        return factors

    def _mass(self, likelihood: Columns, x: Tensor, place: int, column: Column) -> Tensor:
        normal = likelihood.groups[0].likelihood
        assert isinstance(normal, Normal) and isinstance(normal.scale, Tensor)
        reach = self.steps[column.name] / column.scale / 2
        mean, std = normal.mean[:, place], normal.scale[:, place]
        ends = [torch.special.log_ndtr((x[:, place] + sign * reach - mean) / std) for sign in (1, -1)]
        flipped = [torch.special.log_ndtr(-(x[:, place] + sign * reach - mean) / std) for sign in (-1, 1)]
        above = x[:, place] > mean  # the tail in which the difference is exact
        upper, lower = (torch.where(above, b, a) for a, b in zip(ends, flipped, strict=True))
        mass = upper + torch.log(-torch.expm1((lower - upper).clamp(max=-1e-12)))
        return torch.where(x[:, place].isnan(), 0, mass)


def log_slope(column: Column, x: Tensor) -> Tensor:
    """log dx/dv of a continuous column at its values x."""
    if column.kind != POSITIVE:
        return torch.full_like(x, -math.log(column.scale))
    transformed = x * column.scale + column.center  # asinh(v / unit)
    return -torch.log(torch.cosh(transformed)) - math.log(column.unit * column.scale)


@torch.no_grad()
def log_likelihood(vae: VAE, units: Units, x: Tensor) -> Tensor:
    """log p of rows in the units of the data, (b,)."""
    generator = torch.Generator().manual_seed(0)
    posterior, prior = vae.encode(x), vae.prior
    assert prior is not None
    weights = []
    for _ in range(DRAWS):
        z = posterior.sample(generator)
        likelihood = vae.likelihood(z)
        assert isinstance(likelihood, Columns)
        weights.append(units.factors(likelihood, x).sum(dim=1) + prior.log_prob(z) - posterior.log_prob(z))
    return torch.stack(weights).logsumexp(dim=0) - math.log(DRAWS)


def trained(table: Table, rows: NDArray[np.int64], folder: Path, seed: int, kinds: Mapping[str, str]) -> Path:
    """The folder of a run on some rows of a table."""
    data = folder / "train.csv"
    folder.mkdir(parents=True)
    with data.open("w", newline="") as file:
        csv.writer(file).writerows([list(table), *([table[name][i] for name in table] for i in rows)])
    train(TrainOptions("tables", data, folder / "run", SAMPLES, seed=seed, changes=("data.held_out=0",), columns=kinds))
    return folder / "run"


def opened(run: Path) -> tuple[VAE, TableSchema]:
    """A VAE of rows and its schema."""
    vae = load(run)
    schema = domain_of(vae)[1]
    assert isinstance(schema, TableSchema)
    return vae.double(), schema


def rows_of(table: Table, rows: NDArray[np.int64], schema: TableSchema) -> Tensor:
    """Rows as a VAE takes them."""
    cells = {name: texts_array([values[i] for i in rows]) for name, values in table.items()}
    x, problems = schema.values(RowChunk([str(i) for i in rows], cells))
    assert not problems, problems
    return x.double()


def kept_types(vae: VAE, schema: TableSchema, count: int = 2000) -> bool:
    """Whether sampled rows have the types and ranges of the data."""
    generator = torch.Generator().manual_seed(0)
    assert vae.prior is not None
    z = torch.randn(count, vae.geometry.latent_channels, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        items = schema.to_items(vae.likelihood(z).sample(generator))
    for column in schema.columns:
        cells = texts_array([item[column.name] for item in items])
        if column.values:
            if not set(cells) <= set(column.values):
                return False
            continue
        numbers = column.parse(cells)
        slack = 1e-6 * max(abs(column.low), abs(column.high), 1)
        if not ((numbers >= column.low - slack) & (numbers <= column.high + slack)).all():
            return False
        if column.decimals is not None and not (np.abs(np.round(numbers, column.decimals) - numbers) < 1e-9).all():
            return False
    return True


def compare(name: str, table: Table, seed: int, folder: Path) -> None:
    """Train both VAEs, and print a line."""
    count = len(next(iter(table.values())))
    order = np.random.default_rng(seed).permutation(count)
    rows, held_out = np.sort(order[count // 5 :]), np.sort(order[: count // 5])
    vae, schema = opened(trained(table, rows, folder / "kinds", seed, {}))
    numbers, steps = gaussian(table, schema)
    normal_vae, normal_schema = opened(
        trained(numbers, rows, folder / "normal", seed, dict.fromkeys(numbers, "normal"))
    )
    ours = log_likelihood(vae, Units(schema, {}), rows_of(table, held_out, schema))
    theirs = log_likelihood(normal_vae, Units(normal_schema, steps), rows_of(numbers, held_out, normal_schema))
    difference = ours - theirs
    error = difference.std() / math.sqrt(len(difference))
    print(
        f"{name:14} seed {seed}: {len(held_out)} rows held out, log p {ours.mean():.2f} against {theirs.mean():.2f} "
        f"Gaussian, difference {difference.mean():+.2f} +- {error:.2f} nats per row; "
        f"types and ranges {'kept' if kept_types(vae, schema) else 'NOT kept'}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    seeds = parser.parse_args().seeds
    tables = {"breast cancer": measured(load_breast_cancer()), "wine": measured(load_wine()), "mixed": mixed()}
    for name, table in tables.items():
        for seed in range(seeds):
            with tempfile.TemporaryDirectory() as folder:
                compare(name, table, seed, Path(folder))


if __name__ == "__main__":
    main()

"""Synthetic rows compared with real ones: equal distributions, other ones, copies, and missing cells."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from refusals import refuses
from torch import Tensor

from vaekit.datasets.dataset import Row
from vaekit.domains.tables import sample_quality
from vaekit.domains.tables.domain import TABLES
from vaekit.domains.tables.sample_quality import compare_rows, marginal_distances, split
from vaekit.domains.tables.schema import TableSchema, fit
from vaekit.errors import NotFound, NoTrainingData

ROWS = 240
KINDS = {"size": "real", "weight": "real", "town": "categorical", "ill": "binary"}


def rows(seed: int, related: bool = True) -> list[Row]:
    """Rows with two correlated numbers, three towns and a disease of one of them."""
    random = np.random.default_rng(seed)
    size = random.normal(10, 2, ROWS)
    weight = size * 2 + random.normal(0, 0.1, ROWS) if related else random.normal(20, 4, ROWS)
    town = random.choice(["Bonn", "Ulm", "Jena"], ROWS, p=[0.5, 0.3, 0.2])
    ill = np.where(town == "Ulm", "yes", "no")
    names = list(KINDS)
    cells = zip(size.round(4).astype(str), weight.round(4).astype(str), town, ill, strict=True)
    return [Row(f"t.csv:{i + 2}", dict(zip(names, map(str, each), strict=True))) for i, each in enumerate(cells)]


@pytest.fixture(scope="module")
def schema() -> TableSchema:
    return fit(rows(0), KINDS)


@pytest.fixture
def tensors(schema: TableSchema, monkeypatch: pytest.MonkeyPatch) -> tuple[Tensor, Tensor, Tensor]:
    """Training rows, held-out ones, and others of the same distribution; without the slow classifier."""
    monkeypatch.setattr(sample_quality, "two_sample_auroc", lambda *_: 0.5)
    return schema.to_tensor(rows(0)), schema.to_tensor(rows(1)), schema.to_tensor(rows(2))


def test_rows_of_the_same_distribution(schema: TableSchema, tensors: tuple[Tensor, Tensor, Tensor]) -> None:
    train, held_out, same = tensors
    found = compare_rows(schema, train, held_out, same, 0)
    assert found.values["marginal_distance"] < 0.12 and found.values["association_difference"] < 0.12
    assert abs(found.values["closer_share"] - 0.5) < 0.12 and found.values["copies"] == 0
    assert set(found.parts) == set(KINDS) and list(found.parts.values()) == sorted(found.parts.values(), reverse=True)
    assert [measure.name for measure in found.measures] == list(found.values)


def test_unrelated_columns_and_copies_show(schema: TableSchema, tensors: tuple[Tensor, Tensor, Tensor]) -> None:
    train, held_out, _ = tensors
    unrelated = compare_rows(schema, train, held_out, schema.to_tensor(rows(3, related=False)), 0)
    assert unrelated.values["association_difference"] > 0.12
    copied = compare_rows(schema, train, held_out, train[:50], 0)
    assert copied.values["copies"] == 50 and copied.values["closer_share"] > 0.95
    nothing_apart = compare_rows(schema, train, held_out[:0], train[:50], 0)
    assert np.isnan(nothing_apart.values["closer_share"])


def test_the_classifier_sees_the_rows(schema: TableSchema) -> None:
    train, other = schema.to_tensor(rows(0)), schema.to_tensor(rows(3, related=False))
    assert compare_rows(schema, train, train[:0], other, 0).values["classifier_auroc"] > 0.9


def test_missing_cells_do_not_tell_rows_apart(schema: TableSchema, tensors: tuple[Tensor, Tensor, Tensor]) -> None:
    train, held_out, same = (x.clone() for x in tensors)
    for x in (train, held_out):
        x[::3, 0] = torch.nan
    whole, gaps = (compare_rows(schema, x, held_out, same, 0) for x in (tensors[0], train))
    assert gaps.values["marginal_distance"] == pytest.approx(whole.values["marginal_distance"], abs=0.06)
    assert abs(gaps.values["closer_share"] - 0.5) < 0.12


def test_categories_of_rows(schema: TableSchema) -> None:
    x = schema.to_tensor(rows(0))[:4]
    slots = schema.slots()
    x[1, slots["town"]] = torch.nan
    x[2, slots["town"]] = 0.0  # a town that was never seen
    x[3, slots["ill"]] = -1.0
    numbers, categories = split(schema, x)
    assert numbers.shape == (4, 2) and categories.shape == (4, 2)
    names = [column.name for column in schema.ordered if column.kind in ("categorical", "binary")]
    town, ill = (categories[:, names.index(name)].tolist() for name in ("town", "ill"))
    assert town[0] in (0, 1, 2) and town[1:3] == [-1, 3] and ill[3] == 2
    assert marginal_distances(schema, x, x) == dict.fromkeys(KINDS, 0.0)


def test_the_data_are_divided_as_for_training(schema: TableSchema, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    lines = [",".join(KINDS), *(",".join(row.values.values()) for row in rows(0))]
    path.write_text("\n".join(lines))
    compare = TABLES.sample_comparison(path, schema)
    assert isinstance(compare, partial)
    train, held_out = compare.args[1:]
    assert (len(train), len(held_out)) == (ROWS - ROWS // 20, ROWS // 20)
    with refuses(NotFound, "gone.csv"):
        TABLES.sample_comparison(tmp_path / "gone.csv", schema)
    (tmp_path / "broken.csv").write_text("size,weight\n1,2\n")
    with pytest.raises(NoTrainingData):
        TABLES.sample_comparison(tmp_path / "broken.csv", schema)

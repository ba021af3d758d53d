"""Measures of sampled molecules."""

import math

import numpy as np
import pytest

from vaekit.domains.molecules import sample_quality
from vaekit.domains.molecules.chemistry import Normalization
from vaekit.domains.molecules.codecs import SELFIES
from vaekit.domains.molecules.sample_quality import (
    DIVERSITY,
    FCD,
    NEAREST,
    NOVEL,
    VALID,
    MoleculeComparison,
    fcd,
    known_molecules,
    some_molecules,
)
from vaekit.domains.molecules.token_store import TokenStore, convert_all
from vaekit.domains.sample_quality import histogram
from vaekit.errors import MissingPackage

DATA = ["CCO", "CCN", "c1ccccc1O", "CC(=O)Nc1ccc(O)cc1"]


@pytest.fixture
def store() -> TokenStore:
    return convert_all([*DATA, "bad("], SELFIES, Normalization())


@pytest.fixture
def without_fcd(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise MissingPackage("It is not installed.", "", "")

    monkeypatch.setattr(sample_quality, "require", refuse)


@pytest.mark.usefixtures("without_fcd")
def test_samples_are_counted(store: TokenStore) -> None:
    samples = ["CCO", "CCO", "CCCO", "Oc1ccccc1", ""]
    data = some_molecules(store, SELFIES, 10)
    assert sorted(data) == sorted(["CCO", "CCN", "Oc1ccccc1", "CC(=O)Nc1ccc(O)cc1"])
    found = MoleculeComparison(data, known_molecules(store, SELFIES))(samples, 0)
    values = found.values
    assert values[VALID.name] == 4 / 5 and values["unique_5"] == 3 / 4
    assert values[NOVEL.name] == pytest.approx(1 / 3)
    assert 0.5 < values[NEAREST.name] < 1 and 0 < values[DIVERSITY.name] < 1
    assert FCD.title in found.not_measured and FCD.name not in values
    assert set(found.parts) == {each.name for each in found.histograms} == {"QED", "logP", "SA", "weight"}
    assert [measure.name for measure in found.measures] == list(values)


@pytest.mark.usefixtures("without_fcd")
def test_equal_molecules_have_no_distance(store: TokenStore) -> None:
    data = some_molecules(store, SELFIES, 10)
    found = MoleculeComparison(data, None)(data, 0)
    assert all(value == 0 for value in found.parts.values()) and found.values[NEAREST.name] == 1
    assert NOVEL.title in found.not_measured


@pytest.mark.usefixtures("without_fcd")
def test_no_valid_sample_is_no_error() -> None:
    found = MoleculeComparison(["CCO"], None)([""], 0)
    assert found.values[VALID.name] == 0 and math.isnan(found.values[DIVERSITY.name])
    assert all(math.isnan(value) for value in found.parts.values())
    assert np.isfinite(found.histograms[0].data).all()


def test_histograms_have_a_range() -> None:
    found = histogram("QED", [0.5, math.nan], [0.5])
    assert found.low < found.high and sum(found.data) == sum(found.samples) == 1


@pytest.mark.nightly
def test_chemnet_distance() -> None:
    near, far = ["CCO", "CCN", "CCC", "CCCC", "CCOC"], ["c1ccccc1O", "c1ccncc1", "c1ccccc1Cl", "Cc1ccccc1", "c1ccsc1"]
    same, other = fcd(near, near), fcd(near, far)
    assert isinstance(same, float) and isinstance(other, float)
    assert abs(same) < 1e-3 < 1 < other
    assert isinstance(fcd(near, ["C"]), str)

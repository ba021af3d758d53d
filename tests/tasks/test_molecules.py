"""Verbs of molecules whose VAE is known: the best of all molecules are found, RDKit measures them, and equal ones count
once."""

import csv
from dataclasses import replace
from hashlib import sha256
from itertools import product
from pathlib import Path

import pytest
from planted_tokens import planted_molecules
from refusals import refuses

pytest.importorskip("rdkit", reason="molecules need rdkit")
pytest.importorskip("selfies", reason="molecules need selfies")

from vaekit.checkpoints.direction_files import load_direction
from vaekit.domains.molecules.chemistry import canonical, read_smiles
from vaekit.domains.molecules.properties import PROPERTIES
from vaekit.domains.molecules.similarity import tanimoto
from vaekit.errors import BadItem, BadPlan, NotFound
from vaekit.tasks.direction import DirectionOptions, direction
from vaekit.tasks.explain import explain
from vaekit.tasks.given import first_lines, given_files
from vaekit.tasks.index import index
from vaekit.tasks.model import OpenModel
from vaekit.tasks.optimise import optimise
from vaekit.tasks.optimised import OptimiseOptions
from vaekit.tasks.reconstruct import reconstruct
from vaekit.tasks.sample import SampleOptions, sample
from vaekit.tasks.score import ScoreOptions, score
from vaekit.tasks.search import SearchOptions, search

STARTS = ["CCNCNC", "NNCCCC"]
EVERY = sorted({canonical(read_smiles("".join(atoms))) for atoms in product("CN", repeat=6)})


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.tasks.estimate.SAMPLES", 100)


@pytest.fixture(scope="module")
def model() -> OpenModel:
    return planted_molecules()


@pytest.fixture
def leads(tmp_path: Path) -> Path:
    (tmp_path / "leads.smi").write_text("".join(f"{smiles}\n" for smiles in STARTS))
    return tmp_path / "leads.smi"


@pytest.mark.parametrize(("wanted", "sign"), [("qed", 1), ("-logP", -1), ("SA", 1)])
def test_the_best_similar_molecule_is_found(
    model: OpenModel, leads: Path, tmp_path: Path, wanted: str, sign: int
) -> None:
    options = OptimiseOptions(wanted, within=20.0, density=0.0, steps=24, similarity=0.3)
    found = optimise(model, [leads], tmp_path / "out", options)
    measure = {name.lower(): function for name, function in PROPERTIES.items()}[wanted.removeprefix("-").lower()]
    assert found.similarity == "Tanimoto" and found.estimate is not None
    written = (tmp_path / "out" / "leads.smi").read_text().splitlines()
    for start, item, line in zip(STARTS, found.batch.results[0].items, written, strict=True):
        similar = [
            each for each, value in zip(EVERY, tanimoto([start] * len(EVERY), EVERY), strict=True) if value >= 0.3
        ]
        assert item.after == pytest.approx(sign * max(sign * value for value in measure(similar)))
        assert measure([line]) == [item.after] and tanimoto([start], [line]) == [item.similarity]
        assert (item.original, item.result) == (canonical(read_smiles(start)), line)


def test_drawings_show_the_property_that_was_optimised(
    model: OpenModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the names of the molecules."""
    drawn: dict[str, list[str]] = {}

    def svg(smiles: list[str], texts: list[str], columns: int) -> str:
        drawn[f"{len(smiles)} in {columns}"] = texts
        return ""

    monkeypatch.setattr("vaekit.domains.molecules.drawings.svg", svg)
    (tmp_path / "leads.smi").write_text(f"{STARTS[0]} lead one\n{STARTS[1]}\n")
    options = OptimiseOptions("-logP", within=20.0, density=0.0, steps=4)
    found = optimise(model, [tmp_path / "leads.smi"], tmp_path / "out", options, side_by_side=True)
    one, two = found.batch.results[0].items
    shown = [f"logP {item.after:.2f}, Tanimoto {item.similarity:.2f}" for item in (one, two)]
    assert drawn["2 in 5"] == [f"lead one, {shown[0]}", shown[1]]
    assert drawn["4 in 4"][:2] == [
        f"lead one, logP {one.before:.2f}",
        f"Tanimoto {one.similarity:.2f}, logP {one.after:.2f}",
    ]
    header, row, _ = (tmp_path / "out" / "leads.side-by-side.smi").read_text().splitlines()
    assert header.split("\t")[-2:] == ["logP", "logP (result)"]
    assert [float(value) for value in row.split("\t")[-2:]] == pytest.approx([one.before, one.after], rel=1e-5)
    reconstruct(model, [tmp_path / "leads.smi"], tmp_path / "same")
    assert drawn["2 in 5"][0].startswith("lead one, QED ")


@pytest.mark.parametrize(
    "texts", [["CCN", "C\nN"], ["# C", "CCN"], ["smiles", "CCN"], ["smiles"], ["CCN", "CC\rN"], ["# C"]]
)
def test_texts_that_are_not_one_molecule_each_are_refused(model: OpenModel, tmp_path: Path, texts: list[str]) -> None:
    with refuses(BadItem, str(len(texts))):
        given_files(model, texts, tmp_path)
    (path,) = given_files(model, ["CCN", "xx yy", "CC |x|"], tmp_path)  # invalid ones are refused when they are read
    assert path.read_text().splitlines() == ["CCN", "xx yy", "CC |x|"]


def test_invalid_molecules_are_printed_as_a_word(model: OpenModel, tmp_path: Path) -> None:
    model.domain.write(["", "CCN"], tmp_path / "x.smi", model.schema)
    assert first_lines(model, tmp_path / "x.smi") == ["invalid", "CCN"]


def test_properties_that_do_not_exist_are_refused(model: OpenModel, leads: Path, tmp_path: Path) -> None:
    with refuses(NotFound, "QED") as error:
        optimise(model, [leads], tmp_path / "out", OptimiseOptions("QDE"))
    assert error.value.expected.index("QED") < error.value.expected.index("module:function")


def test_results_that_are_other_molecules_are_noted(model: OpenModel, leads: Path, tmp_path: Path) -> None:
    options = OptimiseOptions("QED", within=20.0, density=0.0, steps=24)
    free = optimise(model, [leads], tmp_path / "free", options)
    bound = optimise(model, [leads], tmp_path / "bound", replace(options, similarity=0.4))
    values = [item.similarity for item in free.batch.results[0].items]
    assert free.median_similarity() == pytest.approx(sum(values) / 2) and free.median_similarity() < 0.4
    assert any("--similarity" in note for note in free.notes) and bound.median_similarity() >= 0.4
    assert not any("--similarity" in note for note in bound.notes)


def test_a_regression_that_predicts_badly_is_noted(model: OpenModel, leads: Path, tmp_path: Path) -> None:
    data = tmp_path / "assay.csv"
    chains = ["".join(atoms) for atoms in product("CN", repeat=6)]
    data.write_text("smiles,noise\n" + "".join(f"{chain},{sha256(chain.encode()).digest()[0]}\n" for chain in chains))
    options = OptimiseOptions("noise", within=20.0, density=0.0, steps=2, data=data)
    found = optimise(model, [leads], tmp_path / "out", options)
    assert "poor" in found.estimate and any("guesses" in note for note in found.notes)


def test_labels_of_a_table_are_estimated(model: OpenModel, leads: Path, tmp_path: Path) -> None:
    data = tmp_path / "assay.csv"
    chains = ["".join(atoms) for atoms in product("CN", repeat=6)]
    data.write_text("smiles,potency\n" + "".join(f"{chain},{chain.count('N')}\n" for chain in chains))
    options = OptimiseOptions("potency", within=20.0, density=0.0, steps=24, data=data)
    found = optimise(model, [leads], tmp_path / "out", options)
    assert (tmp_path / "out" / "leads.smi").read_text().splitlines() == ["NNNNNN", "NNNNNN"]
    assert any("estimated" in note for note in found.notes)


def test_equal_molecules_count_once(model: OpenModel, tmp_path: Path) -> None:
    """Chains that are written from the other end, and those that a file has in another order of atoms, are equal."""
    found = sample(model, tmp_path / "all", SampleOptions(len(EVERY) + 1, unique=True))
    assert sorted((tmp_path / "all" / "samples.smi").read_text().splitlines()) == EVERY and found.notes
    known = tmp_path / "known.csv"
    known.write_text("smiles\n" + "".join(f"{smiles[::-1]}\n" for smiles in EVERY[2:]))
    new = sample(model, tmp_path / "new", SampleOptions(2, unique=True, new_to=known))
    assert sorted((tmp_path / "new" / "samples.smi").read_text().splitlines()) == EVERY[:2] and new.known > 0


def test_analogues_have_their_tanimoto(model: OpenModel, leads: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.smi"
    data.write_text("".join(f"{smiles}\n" for smiles in EVERY))
    index(model, data, tmp_path / "index")
    found = search(model, str(leads), tmp_path / "index", SearchOptions(k=3), tmp_path / "out")
    assert found.measure == "Tanimoto" and "Tanimoto" in (tmp_path / "out" / "search.html").read_text()
    for text in ("", " ", "missing.smi", "# C", "smiles", "CCN\nCCO"):
        with pytest.raises((BadItem, NotFound)):
            search(model, text, tmp_path / "index", SearchOptions(k=3))
    for neighbor in found.neighbors:
        smiles = EVERY[int(neighbor.item.rpartition(":")[2]) - 1]
        assert [neighbor.item_similarity] == tanimoto([STARTS[0]], [smiles])


def test_scores_and_their_tokens(model: OpenModel, leads: Path, tmp_path: Path) -> None:
    score(model, leads, tmp_path / "scores.csv", ScoreOptions(draws=4))
    with open(tmp_path / "scores.csv", newline="") as file:
        assert all(float(row["score"]) < 0 for row in csv.DictReader(file))
    found = explain(model, [leads], None)
    assert {reason.value for each in found.explanations for reason in each.reasons} == {"[C]", "[N]", "(end)"}


def test_directions_of_a_property(model: OpenModel, tmp_path: Path) -> None:
    """Nitrogen lowers logP: the direction leads to carbon at every place. Labels are those that a column would have."""
    chains = ["".join(atoms) for atoms in product("CN", repeat=6)]
    (tmp_path / "chains.smi").write_text("".join(f"{chain}\n" for chain in chains))
    values = PROPERTIES["logP"](chains)
    rows = [f"{chain},{value}\n" for chain, value in zip(chains, values, strict=True)]
    (tmp_path / "chains.csv").write_text("smiles,logP\n" + "".join(rows))
    out = tmp_path / "logp.safetensors"
    found = direction(model, [tmp_path / "chains.smi"], out, DirectionOptions(property="logp"))
    assert (found.label, found.classes, found.items) == ("logp", None, 64) and not found.notes
    assert {each.label for each in found.side_effects} >= set(PROPERTIES) - {"logP", "rings"}
    vector = load_direction(out).direction.vector
    assert (vector > 0).all()
    direction(model, [tmp_path / "chains.csv"], out, DirectionOptions("logP"))
    assert load_direction(out).direction.vector == pytest.approx(vector)
    with refuses(NotFound, "QDE", "QED"):
        direction(model, [tmp_path / "chains.smi"], out, DirectionOptions(property="QDE"))
    with refuses(BadPlan, "--label"):
        direction(model, [tmp_path / "chains.csv"], out, DirectionOptions("logP", property="QED"))

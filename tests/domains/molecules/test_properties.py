"""Properties, similarity and drawings of molecules."""

import math
from pathlib import Path
from xml.etree import ElementTree

import pytest

from vaekit.domains.molecules.drawings import CELL, COLUMNS, MOST, NOTE, captions, image, write_drawing
from vaekit.domains.molecules.properties import PROPERTIES
from vaekit.domains.molecules.similarity import internal_diversity, nearest, tanimoto

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
BROKEN = ["", "C(", "[", "C" * 9000]


def test_published_values() -> None:
    values = {name: measure([ASPIRIN])[0] for name, measure in PROPERTIES.items()}
    assert values["weight"] == pytest.approx(180.16, abs=0.01)
    assert values["TPSA"] == pytest.approx(63.6, abs=0.01)
    assert values["logP"] == pytest.approx(1.31, abs=0.01)
    assert values["QED"] == pytest.approx(0.55, abs=0.01)
    assert values["SA"] == pytest.approx(1.58, abs=0.02)
    assert values["rings"] == 1


@pytest.mark.parametrize("name", PROPERTIES)
def test_invalid_molecules_have_no_properties(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    values = PROPERTIES[name]([*BROKEN, ASPIRIN, "[U]", "[Na+].[Cl-]"])
    assert len(values) == 7 and all(math.isnan(value) for value in values[:4]) and math.isfinite(values[4])
    assert capfd.readouterr() == ("", "")
    assert PROPERTIES[name]([]) == []


def test_similarity() -> None:
    assert tanimoto([ASPIRIN, "CCO", "CCO"], [ASPIRIN, "OCC", "c1ccccc1"]) == [1, 1, 0]
    assert all(math.isnan(value) for value in tanimoto(BROKEN, [ASPIRIN] * 4))
    assert nearest(["CCO", "C("], [ASPIRIN, "CCO"])[0] == 1 and math.isnan(nearest(["C("], [ASPIRIN])[0])
    assert math.isnan(nearest(["CCO"], ["C("])[0])
    assert internal_diversity(["CCO", "CCO"]) == 0 and internal_diversity(["CCO", "c1ccccc1"]) == 0.5
    assert math.isnan(internal_diversity([""]))


def test_drawings_have_at_most_so_many_molecules(tmp_path: Path) -> None:
    write_drawing([ASPIRIN, "", "C("] * 50, tmp_path / "x.svg")
    root = ElementTree.parse(tmp_path / "x.svg").getroot()
    assert root.get("width") == f"{COLUMNS * CELL}px" and root.get("height") == f"{MOST // COLUMNS * CELL}px"
    text = (tmp_path / "x.svg").read_text()
    assert "<script" not in text and "href" not in text


def test_a_small_molecule_is_drawn_at_the_same_size_beside_any_other(tmp_path: Path) -> None:
    def size(*smiles: str) -> float:
        levels = image(smiles, [""] * len(smiles), 1)[:, :CELL].min(0).values
        return float((levels < 0).any(0).sum())

    assert size(ASPIRIN) == size(ASPIRIN, "C" * 60) > size("CCO") > 0


def test_notes_are_drawn_before_the_property(tmp_path: Path) -> None:
    def glyphs(notes: list[str]) -> int:
        return write_drawing(["CCO", ""], tmp_path / "x.svg", 2, notes).read_text().count("<path")

    assert glyphs(["", ""]) == glyphs([]) < glyphs(["ethanol", ""]) < glyphs(["ethanol", "lost"])
    assert glyphs(["x" * NOTE, ""]) == glyphs(["x" * (NOTE - 3) + "y" * 500, ""])


def test_drawings_of_few_molecules(tmp_path: Path) -> None:
    for smiles in ([], [""], ["[Na+].[Cl-]"], ["[U]"], ["C" * 1000]):
        write_drawing(smiles, tmp_path / "x.svg")
        ElementTree.parse(tmp_path / "x.svg")
    x = image([ASPIRIN, "C("], captions([ASPIRIN, "C("]))
    assert x.shape == (3, CELL, 2 * CELL) and -1 <= x.min() < 0 and x.max() == 1

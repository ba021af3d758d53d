"""Files of molecules."""

import gzip
from pathlib import Path

import pytest
from refusals import refuses

from vaekit.datasets.dataset import Block, Line, NamedLine, Row
from vaekit.datasets.labels import label_names, read_labels
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.text_blocks import LONGEST_LINE
from vaekit.domains.molecules.records import name_of, open_molecules, text_of
from vaekit.errors import BadItem, NotFound, NoTrainingData

ETHANOL = """ethanol
  a program

  3  2  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 C   0  0
    1.5000    0.0000    0.0000 C   0  0
    2.2000    1.2000    0.0000 O   0  0
  1  2  1  0
  2  3  1  0
M  END
> <activity>
5.5
"""
LISTS = {
    "plain.smi": "CCO\nCCN\n",
    "names.smi": "CCO ethanol\nCCN ethyl amine\n",
    "tabs.smi": "SMILES\tName\nCCO\tethanol\nCCN\tethylamine\n",
    "windows.smi": "smiles\r\nCCO\r\nCCN\r\n\r\n",
    "comment.smi": "# made by hand\nCCO\nCCN\n",
    "list.txt": "CCO\nCCN\n",
    "header.txt": "SMILES\nCCO\nCCN\n",
    "table.txt": "id\tSMILES\n1\tCCO\n2\tCCN\n",
    "table.csv": "id,Canonical_Smiles\n1,CCO\n2,CCN\n",
    "table.tsv": 'id\tsmiles\n1\t"CCO"\n2\tCCN\n',
    "nosuffix": "CCO\nCCN\n",
}


def texts(path: Path) -> list[str]:
    data = open_molecules(path, SkipLog()).train
    return [text_of(data.read(number)) for number in range(len(data))]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", LISTS)
def test_files_are_read(tmp_path: Path, name: str, zipped: bool) -> None:
    content = LISTS[name].encode()
    path = tmp_path / (f"{name}.gz" if zipped else name)
    path.write_bytes(gzip.compress(content) if zipped else content)
    assert texts(path) == ["CCO", "CCN"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_encodings_are_recognized(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "x.smi"
    path.write_bytes("CCO \u00e9thanol\nCCN\n".encode(encoding))
    data = open_molecules(path, SkipLog()).train
    assert [name_of(data.read(number)) for number in range(2)] == ["\u00e9thanol", ""]


def test_sd_files_are_read_block_by_block(tmp_path: Path) -> None:
    path = tmp_path / "x.sdf"
    truncated = ETHANOL[: ETHANOL.index("M  END")]
    path.write_text(f"{ETHANOL}\n$$$$\n{ETHANOL.replace(' O ', ' Q7')}\n$$$$\n{truncated}")
    data = open_molecules(path, SkipLog()).train
    assert [data.key(number) for number in range(3)] == ["x.sdf:1", "x.sdf:15", "x.sdf:29"]
    first = data.read(0)
    assert isinstance(first, Block) and text_of(first) == "CCO" and name_of(first) == "ethanol"
    for number, line in ((1, 15), (2, 29)):
        with refuses(BadItem, f"x.sdf:{line}"):
            text_of(data.read(number))


def test_structures_without_a_line_between_them_are_not_lost(tmp_path: Path) -> None:
    (tmp_path / "x.sdf").write_text(f"{ETHANOL}\n$$$$\n{ETHANOL}\n{ETHANOL}\n$$$$\n")
    data = open_molecules(tmp_path / "x.sdf", SkipLog()).train
    assert text_of(data.read(0)) == "CCO"
    with refuses(BadItem, "x.sdf:15"):
        text_of(data.read(1))


def test_structures_with_too_many_atoms_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.domains.molecules.chemistry.MOST_CHARACTERS", 2)
    monkeypatch.setattr("vaekit.domains.molecules.records.canonical", lambda _: pytest.fail("it was written"))
    with refuses(BadItem, "x.sdf:1", "3 atoms"):
        text_of(Block("x.sdf:1", ETHANOL))


def test_fields_of_sd_files_are_labels(tmp_path: Path) -> None:
    other = ETHANOL.replace("activity", "id").replace("5.5", "")
    (tmp_path / "x.sdf").write_text(f"{ETHANOL}\n$$$$\n{other}\n$$$$\n")
    data = open_molecules(tmp_path / "x.sdf", SkipLog()).train
    assert {"activity", "id"} <= set(label_names(data))
    assert read_labels(data, "activity") == ["5.5", None]


def test_a_single_structure_needs_no_end(tmp_path: Path) -> None:
    (tmp_path / "x.mol").write_text(ETHANOL)
    assert texts(tmp_path / "x.mol") == ["CCO"]


def test_folders_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.smi").write_text("CCO\n")
    (tmp_path / "b.smi").write_text("SMILES id\nCCN 1\n")
    assert texts(tmp_path) == ["CCO", "CCN"]


def test_empty_lines_between_others_keep_their_places(tmp_path: Path) -> None:
    (tmp_path / "x.smi").write_text("CCO\n\n\tinvalid\nCCN\n\n")
    assert texts(tmp_path / "x.smi") == ["CCO", "", "", "CCN"]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"SMILES\n", b"\x00\x01\x02\xff" * 200])
def test_files_without_molecules_are_refused(tmp_path: Path, content: bytes) -> None:
    for name in ("x.smi", "x.txt", "x"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises((NoTrainingData, BadItem)):
            assert texts(tmp_path / name) == []
    with pytest.raises(NotFound):
        texts(tmp_path / "absent.smi")


def test_a_line_that_is_too_long_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.smi").write_text("CCO\n" + "C" * (LONGEST_LINE + 9) + "\nCC\0N\nCCC\n")
    data = open_molecules(tmp_path / "x.smi", SkipLog()).train
    assert text_of(data.read(0)) == "CCO" and text_of(data.read(3)) == "CCC"
    for number in (1, 2):
        with refuses(BadItem, f"x.smi:{number + 1}"):
            data.read(number)


def test_columns_are_named() -> None:
    row = Row("t.csv:2", {"id": "7", "structure": " CCO ", "price": "1"})
    assert text_of(row, "structure") == "CCO"
    assert text_of(Row("t.csv:2", {"SMILES": "CCO"}), "structure") == "CCO"
    for wanted in ("", "smiles"):
        with refuses(BadItem, "t.csv:2", "structure"):
            text_of(row, wanted)
    with refuses(BadItem, "x.smi:1"):
        text_of(NamedLine("x.smi:1", "CC |^1:0|"))
    with pytest.raises(BadItem):
        text_of(Line("x", "CC"))

"""The schema of molecules."""

import json

import pytest
import torch
from refusals import refuses

from vaekit.datasets.dataset import NamedLine, Row
from vaekit.domains.find import domain_named
from vaekit.domains.molecules.chemistry import LARGEST, Normalization, canonical, read_smiles
from vaekit.domains.molecules.codecs import SELFIES, SMILES
from vaekit.domains.molecules.domain import MOLECULES
from vaekit.domains.molecules.schema import MoleculeSchema, schema_from
from vaekit.domains.molecules.settings import MoleculeSettings
from vaekit.domains.recipes import recipe
from vaekit.domains.tokens import UNKNOWN
from vaekit.errors import BadCheckpoint, BadItem, NotFound

KNOWN = ["CCO", "c1ccccc1O", "[Na+].[Cl-]", "C[C@H](O)N", "CC(=O)Nc1ccc(O)cc1"]


def fitted(codec: str = SELFIES, length: int = 72) -> MoleculeSchema:
    records = iter([NamedLine(f"x.smi:{place}", text) for place, text in enumerate(KNOWN, 1)])
    return MOLECULES.fit(MoleculeSettings(codec=codec, length=length), records)


@pytest.mark.parametrize("codec", [SELFIES, SMILES])
def test_molecules_come_back(codec: str) -> None:
    schema = fitted(codec)
    x = schema.from_smiles(KNOWN)
    assert x.shape == (len(KNOWN), schema.length) and x.dtype == torch.long
    assert schema.to_items(x) == [canonical(read_smiles(text)) for text in KNOWN]
    assert schema_from(json.loads(json.dumps(schema.as_plain()))) == schema
    assert schema.vae_settings() == {"net": {"vocabulary": len(schema.tokens) + 2, "length": schema.length}}
    assert torch.equal(schema.to_tensor([Row("t:1", {"Smiles": KNOWN[0]})]), x[:1])


def test_what_does_not_fit_is_refused_with_the_name_of_its_row() -> None:
    schema = fitted()
    for text, fact in (("CCBr", "[Br]"), ("C" * 60, 60), ("CC(", "CC("), ("", "x.smi:7")):
        with refuses(BadItem, "x.smi:7", fact):
            schema.to_tensor([NamedLine("x.smi:7", text)])


def test_invalid_molecules_stay_in_place() -> None:
    schema = fitted(SMILES)
    numbers = schema.table.encode(["C", "(", "C"])
    x = schema.example().repeat(3, 1)
    x[0, :3] = torch.tensor(numbers)
    x[1, 0] = UNKNOWN
    x[2, :2] = torch.tensor(schema.table.encode(["C", "O"]))
    assert schema.to_items(x) == ["", "", "CO"]


@pytest.mark.parametrize(
    "change",
    [
        {"codec": "inchi"},
        {"tokens": ["[C]", "[C]"]},
        {"tokens": [1]},
        {"length": 0},
        {"length": 2**40},
        {"stereo": "yes"},
        {"fragments": "some"},
        {"column": None},
    ],
)
def test_damaged_schemas_are_refused(change: dict[str, object]) -> None:
    plain = fitted().as_plain() | change
    with pytest.raises(ValueError):
        schema_from(plain)
    with pytest.raises(BadCheckpoint):
        domain_named("molecules").schema_from(plain, None)


def test_options_are_stored() -> None:
    schema = MoleculeSchema(SMILES, ("C",), 5, Normalization(False, LARGEST), "structure")
    assert schema_from(schema.as_plain()) == schema
    with refuses(NotFound, "color"):
        schema.property_named("color")


def test_the_vocabulary_of_another_model_is_refused() -> None:
    schema = fitted()
    config = recipe("molecules").with_defaults(schema.vae_settings()).config()
    assert MOLECULES.schema_from(schema.as_plain(), config) == schema
    for change in ({"tokens": list(schema.tokens[1:])}, {"length": schema.length + 1}):
        with refuses(BadCheckpoint, "net"):
            MOLECULES.schema_from(schema.as_plain() | change, config)

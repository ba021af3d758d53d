"""Molecules as tokens and back."""

import pytest

from vaekit.domains.molecules.chemistry import LARGEST, MOST_CHARACTERS, Normalization, canonical, read_smiles
from vaekit.domains.molecules.codecs import CODECS, SELFIES, SMILES, decode, encode

ODD = {
    "salt": "[Na+].[Cl-]",
    "stereo center": "C[C@H](O)N",
    "double bond": "F/C=C/F",
    "isotope": "[13CH3]C[2H]",
    "radical": "[CH3]",
    "charges": "C[N+](C)(C)CC(=O)[O-]",
    "hydrogen": "[H][H]",
    "aromatic": "c1ccc2c(c1)[nH]cc2",
    "macrocycle": "C1CCCCCCCCCCCCCCCCCCCCC1",
    "metal": "Cl[Pt](Cl)(N)N",
    "hypervalent": "O=Cl(=O)(=O)O",
    "many rings": "C12C3C4C1C5C2C3C45",
}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("kind", ODD)
def test_canonical_smiles_come_back(kind: str, codec: str) -> None:
    tokens = encode(ODD[kind], codec, Normalization())
    assert decode(tokens, codec) == canonical(read_smiles(ODD[kind]))


def test_what_is_kept_is_chosen() -> None:
    assert decode(encode("C[C@H](O)N.F/C=C/F", SMILES, Normalization(stereo=False)), SMILES) == "CC(N)O.FC=CF"
    assert decode(encode("[Na+].CC(=O)[O-]", SELFIES, Normalization(fragments=LARGEST)), SELFIES) == "CC(=O)[O-]"
    with pytest.raises(ValueError):
        Normalization(fragments="first")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "C(C",
        "c1cccc",
        "CC(C)(C)(C)C",
        "[Xx]",
        "C\0C",
        "CC\u00e9",
        "C C",
        "[99999C]",
        "C>>N",
        "C" * 6000,
        "[",
        "%",
    ],
)
@pytest.mark.parametrize("codec", CODECS)
def test_what_is_no_molecule_is_refused(text: str, codec: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError):
        encode(text, codec, Normalization())
    assert capfd.readouterr() == ("", "")
    assert len("C" * 6000) > MOST_CHARACTERS


@pytest.mark.parametrize("text", ["*C", "C~C", "C->[Fe]"])
def test_what_selfies_cannot_express_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        encode(text, SELFIES, Normalization())


@pytest.mark.parametrize("codec", CODECS)
def test_tokens_of_no_molecule_decode_to_nothing(codec: str) -> None:
    assert decode([], codec) == ""
    assert decode(["[nonsense]"], codec) == ""
    assert decode(["C", "("], SMILES) == "" and decode(["[C]", "C"], SELFIES) == ""

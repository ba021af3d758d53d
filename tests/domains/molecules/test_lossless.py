"""Molecules come back from a compressed file, each as its line was."""

from pathlib import Path

import pytest
import torch

from vaekit.checkpoints.save import save
from vaekit.datasets.dataset import NamedLine
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.molecules.codecs import SELFIES, SMILES
from vaekit.domains.molecules.domain import MOLECULES
from vaekit.domains.molecules.settings import MoleculeSettings
from vaekit.families import PARTS, assemble
from vaekit.families.parts.net import GaussianPart, PartsConfig
from vaekit.identification.metadata import domain_notes
from vaekit.nets.likelihoods import TokensPart
from vaekit.nets.sequence import SequenceConfig
from vaekit.tasks.compress import compress
from vaekit.tasks.decompress import decompress
from vaekit.tasks.model import open_model
from vaekit.tasks.options import ModelOptions

KNOWN = ["CCO", "Oc1ccccc1", "[Cl-].[Na+]", "C[C@H](N)O", "CC(=O)Nc1ccc(O)cc1"]
LINES = [
    *KNOWN,
    "CCO ethanol",
    "OCC",  # not as the VAE writes it
    "CCBr",  # a token that it does not know
    "not a molecule",
    "C" * 90,
]


@pytest.mark.parametrize("codec", [SELFIES, SMILES])
def test_lines_come_back(codec: str, tmp_path: Path) -> None:
    pytest.importorskip("constriction")
    records = iter([NamedLine(f"x.smi:{place}", text) for place, text in enumerate(KNOWN, 1)])
    schema = MOLECULES.fit(MoleculeSettings(codec=codec, length=72), records)
    torch.manual_seed(0)
    net = SequenceConfig(schema.table.size, schema.length, 2, width=8, embedding=4)
    vae = assemble(PARTS, PartsConfig(net, GaussianPart(), TokensPart())).eval()
    save(vae, tmp_path / "vae.safetensors", notes=domain_notes("molecules", schema.as_plain()))
    model = open_model(ModelOptions(str(tmp_path / "vae.safetensors")))

    (tmp_path / "x.smi").write_text("".join(f"{line}\n" for line in LINES * 3))
    result = compress(model, tmp_path / "x.smi", tmp_path / "x.vk", SkipLog(), verify=True)
    assert result.items == 3 * len(LINES)
    assert result.coded == 3 * len([*KNOWN, "CCO ethanol"])
    decompress(model, tmp_path / "x.vk", tmp_path / "out.smi")
    assert (tmp_path / "out.smi").read_text() == (tmp_path / "x.smi").read_text()

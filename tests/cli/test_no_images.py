"""The verbs on a VAE of something else than images: told in words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vaekit.checkpoints.save import save
from vaekit.families import PARTS, assemble
from vaekit.families.parts.net import GaussianPart, PartsConfig
from vaekit.nets.column_likelihoods import ColumnsPart
from vaekit.nets.likelihoods import TokensPart
from vaekit.nets.mlp import MLPConfig
from vaekit.nets.priors import FlowPart, MixturePart
from vaekit.nets.sequence import SequenceConfig

Run = Callable[..., Any]
CONFIGS = {
    "table": PartsConfig(
        MLPConfig((5,), 2, (8,)), GaussianPart(), ColumnsPart(("normal:3", "bernoulli:2")), MixturePart()
    ),
    "sentences": PartsConfig(SequenceConfig(5, 6, 2, 8, 4), GaussianPart(), TokensPart(), FlowPart()),
}


@pytest.fixture(params=list(CONFIGS))
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save(assemble(PARTS, CONFIGS[request.param]).eval(), tmp_path / "vae.safetensors")  # type: ignore[arg-type]
    return tmp_path / "vae.safetensors"


def test_inspect_says_what_it_is_made_of(run: Run, file: Path) -> None:
    told = run("inspect", str(file)).out
    assert "'kind': 'mixture'" in told or "'kind': 'flow'" in told


def test_doctor_and_reconstruct_refuse_it(run: Run, file: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    calls = (("doctor", "--vae", str(file)), ("reconstruct", str(tmp_path / "a.png"), "--vae", str(file)))
    for words in calls:
        result = run(*words, "--json")
        assert result.code == 1
        assert result.json["error"]["kind"] == "BadItem" and result.json["error"]["remedy"]
        assert "Traceback" not in result.err

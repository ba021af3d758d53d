"""A command line to talk to, with a small VAE and a small photograph at hand."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from vaekit.checkpoints.save import save
from vaekit.cli import main
from vaekit.families import assemble, family_of
from vaekit.families.kl.net import KLConfig
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE


@dataclass(frozen=True)
class Said:
    """What one call of the command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)


Run = Callable[..., Said]


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a pipe, whatever width the one who runs the tests tells them of: pytest-xdist does."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call `vaekit ARGUMENTS...` in this process."""

    def call(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["vaekit", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        return Said(int(left.value.code or 0), said.out, said.err)

    return call


def small_vae(channels: int = 4, seed: int = 0, normalization: LatentNormalization | None = None) -> VAE:
    """A KL autoencoder of 1/4 size with random weights."""
    torch.manual_seed(seed)
    config = KLConfig(3, channels, channels, (8, 8, 16), (8, 8, 16), 1, 2, (), (), True, True, True, 4)
    return assemble(family_of("kl"), config, normalization=normalization).eval()


@pytest.fixture(scope="session")
def vae_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vae") / "small.safetensors"
    save(small_vae(normalization=LatentNormalization(shift=(0.1,), scale=(0.5,))), path)
    return path


@pytest.fixture(scope="session")
def unnormalized_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same VAE, of which nobody says how a diffusion model sees its latents."""
    path = tmp_path_factory.mktemp("no_normalization") / "no_normalization.safetensors"
    save(small_vae(), path)
    return path


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A piece of a real photograph, of a size that no factor divides."""
    path = tmp_path_factory.mktemp("photo") / "flower.png"
    with Image.open(str(files("sklearn.datasets.images") / "flower.jpg")) as image:
        image.crop((200, 100, 263, 153)).save(path)
    return path

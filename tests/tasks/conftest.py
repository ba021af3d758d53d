"""A small VAE and small images for the tasks."""

from importlib.resources import files
from pathlib import Path

import pytest
import torch
from PIL import Image

from vaekit.checkpoints.save import save
from vaekit.families import assemble, family_of
from vaekit.families.kl.net import KLConfig
from vaekit.normalization import LatentNormalization
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, ModelOptions


@pytest.fixture(scope="session")
def vae_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A KL autoencoder of 1/4 size with random weights."""
    torch.manual_seed(0)
    config = KLConfig(3, 4, 4, (8, 8, 16), (8, 8, 16), 1, 2, (), (), True, True, True, 4)
    path = tmp_path_factory.mktemp("vae") / "small.safetensors"
    normalization = LatentNormalization(shift=(0.1,), scale=(0.5,))
    save(assemble(family_of("kl"), config, normalization=normalization).eval(), path)
    return path


@pytest.fixture(scope="session")
def model(vae_file: Path) -> OpenModel:
    return open_model(ModelOptions(str(vae_file)), EngineOptions(device="cpu"))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with two pieces of a photograph and a broken file."""
    folder = tmp_path / "images"
    folder.mkdir()
    with Image.open(str(files("sklearn.datasets.images") / "flower.jpg")) as image:
        for number in range(2):
            image.crop((200, 100 + 60 * number, 263, 153 + 60 * number)).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes((folder / "0.png").read_bytes()[:200])
    return folder

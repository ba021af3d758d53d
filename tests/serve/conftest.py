"""A small VAE in a file, a server of it in this process, and a photograph."""

import io
import sys
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

import vaekit
from vaekit.checkpoints.save import save
from vaekit.families import assemble, family_of
from vaekit.families.kl.net import KLConfig
from vaekit.normalization import LatentNormalization
from vaekit.runtime.engine import Engine
from vaekit.serve.app import make_app
from vaekit.serve.service import Service
from vaekit.serve.settings import ServeOptions

BASE = "http://127.0.0.1:8190"


def small_vae(channels: int, seed: int, normalization: LatentNormalization | None) -> vaekit.VAE:
    """A KL autoencoder of 1/4 size with random weights."""
    torch.manual_seed(seed)
    config = KLConfig(3, channels, channels, (8, 8, 16), (8, 8, 16), 1, 2, (), (), True, True, True, 4)
    return assemble(family_of("kl"), config, normalization=normalization).eval()


@pytest.fixture(scope="session")
def vae_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with two VAEs, one of them without a known normalization."""
    folder = tmp_path_factory.mktemp("served models")
    save(small_vae(4, 0, LatentNormalization((0.1,), (0.5,))), folder / "small.safetensors")
    save(small_vae(16, 1, None), folder / "wide (16).safetensors")
    return folder


@pytest.fixture(scope="session")
def vae_file(vae_folder: Path) -> Path:
    return vae_folder / "small.safetensors"


@pytest.fixture(scope="session")
def engine(vae_file: Path) -> Engine:
    """What answers are compared with."""
    return Engine(vaekit.load(vae_file))


@pytest.fixture
def options(vae_file: Path, vae_folder: Path) -> ServeOptions:
    return ServeOptions(vaes=(str(vae_file),), models=(vae_folder,))


MakeClient = Callable[[ServeOptions], TestClient]


@pytest.fixture
def make_client() -> Iterator[MakeClient]:
    """Start an application in this process; all are closed at the end."""
    opened: list[TestClient] = []

    def make(options: ServeOptions) -> TestClient:
        client = TestClient(make_app(Service(options)), base_url=BASE)
        client.__enter__()
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def client(make_client: MakeClient, options: ServeOptions) -> TestClient:
    return make_client(options)


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A PNG of a piece of a photograph, of a size that no factor divides."""
    with Image.open(str(files("sklearn.datasets.images") / "flower.jpg")) as image:
        file = io.BytesIO()
        image.crop((200, 100, 263, 153)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def no_paths(vae_folder: Path) -> Callable[[str], None]:
    """Check that a text names no folder of this machine."""

    def check(text: str) -> None:
        for folder in (vae_folder, Path.home(), Path("/tmp"), Path(sys.prefix)):
            assert f"{folder}/" not in text
        assert "Traceback" not in text

    return check

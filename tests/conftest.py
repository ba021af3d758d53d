"""What every test may ask for."""

import os
import tempfile
from pathlib import Path

import pytest
import torch
from plain_annotations import check_plainly
from safetensors.torch import save_file
from torch import Tensor

check_plainly()

os.environ["HF_HOME"] = str(Path(tempfile.gettempdir()) / "vaekit-tests-have-no-hub-cache")
"""Nothing of the user's is looked at; huggingface_hub reads this once, when it is imported."""


pytest_plugins = ["vae_fixtures"]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The data folder shared by all checkouts: `$VAEKIT_DATA`, else `../shared/data` beside the repository."""
    folder = Path(os.environ.get("VAEKIT_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}; set VAEKIT_DATA to its folder")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test remembers in a folder of its own, and nothing of the user's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("VAEKIT_CACHE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def models(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test has a models folder of its own."""
    folder = tmp_path_factory.mktemp("models")
    monkeypatch.setenv("VAEKIT_MODELS", str(folder))
    return folder


@pytest.fixture(scope="session")
def lpips_tensors() -> dict[str, Tensor]:
    """Random weights for the perceptual distance, under the reference implementation's keys."""
    generator = torch.Generator().manual_seed(0)
    shapes = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
    tensors: dict[str, Tensor] = {}
    for i, (layer, (width, channels, height, _)) in enumerate(shapes.items()):
        spread = (2 / (channels * height * height)) ** 0.5
        weight = spread * torch.randn(width, channels, height, height, generator=generator)
        tensors[f"features.{layer}.weight"] = weight
        tensors[f"features.{layer}.bias"] = 0.1 * torch.randn(width, generator=generator)
        tensors[f"lin{i}.model.1.weight"] = torch.rand(1, width, 1, 1, generator=generator)
    return tensors


@pytest.fixture(scope="session")
def lpips_file(tmp_path_factory: pytest.TempPathFactory, lpips_tensors: dict[str, Tensor]) -> Path:
    """The same in a file."""
    path = tmp_path_factory.mktemp("perceptual") / "lpips.safetensors"
    save_file(lpips_tensors, path)
    return path


@pytest.fixture
def no_card_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what a comparison measures on test cards, which takes the longest."""
    monkeypatch.setattr("vaekit.comparison.compare.card_measures", lambda _: {})

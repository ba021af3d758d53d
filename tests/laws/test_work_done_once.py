"""Files are opened and names are resolved once, whatever is done to them."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vaekit.checkpoints.bake import bake
from vaekit.checkpoints.convert import convert
from vaekit.checkpoints.extract import extract
from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.cli.convert import convert as convert_command
from vaekit.formats import open as files
from vaekit.formats.tensor_file import TensorFile
from vaekit.identification.cached_inspection import cached_inspection
from vaekit.library import names
from vaekit.library.inspect import inspect
from vaekit.vae import VAE

Make = Callable[..., Path]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each weights file was opened."""
    counts: Counter[str] = Counter()
    real = files.open_safetensors

    def counted(path: Path) -> TensorFile:
        counts[path.name] += 1
        return real(path)

    monkeypatch.setattr(files, "open_safetensors", counted)
    return counts


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Counter[str]:
    """How often each name or path was resolved by `located`, which asks first whether the package has such a VAE."""
    counts: Counter[str] = Counter()

    class Recording(dict[str, str]):
        def get(self, name: str, default: Any = None) -> Any:
            counts[name] += 1
            return super().get(name, default)

    recording = Recording(names.packaged_weights())
    monkeypatch.setenv("VAEKIT_MODELS", str(tmp_path))
    monkeypatch.setattr(names, "packaged_weights", lambda: recording)
    return counts


@pytest.fixture
def vae_file(kl_vae: VAE, tmp_path: Path) -> Path:
    save(kl_vae, tmp_path / "vae.safetensors")
    return tmp_path / "vae.safetensors"


@pytest.mark.usefixtures("vae_file")
def test_bake(
    kl_vae: VAE, whole_checkpoint: Make, tmp_path: Path, opened: Counter[str], resolved: Counter[str]
) -> None:
    path = whole_checkpoint(kl_vae)
    bake(path, "vae", tmp_path / "out.safetensors")
    assert opened == {"whole.safetensors": 1, "vae.safetensors": 1}
    assert resolved == {"vae": 1}


def test_extract(kl_vae: VAE, whole_checkpoint: Make, tmp_path: Path, opened: Counter[str]) -> None:
    extract(whole_checkpoint(kl_vae), tmp_path / "out.safetensors")
    assert opened == {"whole.safetensors": 1}


@pytest.mark.usefixtures("vae_file")
def test_convert(tmp_path: Path, opened: Counter[str], resolved: Counter[str]) -> None:
    convert("vae", tmp_path / "out.safetensors", "ldm")
    assert opened == {"vae.safetensors": 1}
    assert resolved == {"vae": 1}


@pytest.mark.usefixtures("vae_file")
def test_the_command_convert(tmp_path: Path, opened: Counter[str], resolved: Counter[str]) -> None:
    convert_command("vae", tmp_path / "out.safetensors")
    assert opened == {"vae.safetensors": 1, "out.safetensors": 1}
    assert resolved == {"vae": 1}


@pytest.mark.usefixtures("vae_file")
def test_load_and_inspect(opened: Counter[str], resolved: Counter[str]) -> None:
    for count, command in enumerate((load, inspect), 1):
        command("vae")
        assert (opened, resolved) == ({"vae.safetensors": count}, {"vae": count})


@pytest.mark.usefixtures("vae_file")
def test_a_cached_inspection(opened: Counter[str], resolved: Counter[str]) -> None:
    for _ in range(2):
        with names.locate_vae("vae") as path:
            cached_inspection(path)
    assert opened == {"vae.safetensors": 1}
    assert resolved == {"vae": 2}


def test_an_inspection_of_a_vae_that_cannot_be_run(
    sparse_file: Make, svd_shapes: dict[str, tuple[int, ...]], opened: Counter[str]
) -> None:
    assert not inspect(sparse_file("svd.safetensors", svd_shapes)).runnable
    assert opened == {"svd.safetensors": 1}

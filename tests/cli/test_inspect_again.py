"""A cached inspection is printed without importing torch, which takes longer than all the rest."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vaekit.catalog import tables

Run = Callable[..., Any]


def inspect_again(name: str, folder: Path, models: Path) -> tuple[str, str]:
    """What `vaekit inspect NAME` prints in a new process, and which large packages it imported."""
    code = (
        "import sys\nfrom vaekit.cli import app\n"
        f"try:\n    app(['inspect', {name!r}, '--json'])\nexcept SystemExit:\n    pass\n"
        "sys.stderr.write(' '.join({'torch', 'numpy'} & set(sys.modules)))"
    )
    environment = os.environ | {"VAEKIT_MODELS": str(models)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd=folder
    )
    return done.stdout.strip(), done.stderr


@pytest.fixture
def models(vae_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    (folder / "sub").mkdir(parents=True)
    shutil.copy(vae_file, folder / "sub" / "mine.safetensors")
    monkeypatch.setenv("VAEKIT_MODELS", str(folder))
    return folder


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    "name",
    [
        "{models}/sub/mine.safetensors",
        "./mine.safetensors",
        "mine.safetensors",
        "../sub/mine.safetensors",
        "linked",
        "sub/mine.safetensors",
        "sub/mine",
        "mine",
        "builtin",
    ],
)
def test_a_second_look_imports_no_torch_however_the_file_is_named(
    run: Run, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (models / "sub" / "linked").symlink_to("mine.safetensors")
    name = name.format(models=models)
    here = models / "sub" if name.startswith(("./", "../", "linked")) or name == "mine.safetensors" else tmp_path
    monkeypatch.chdir(here)
    first = run("inspect", name, "--json")
    assert first.code == 0, first.err
    again, imported = inspect_again(name, here, models)
    assert imported == ""
    assert again == first.out.strip()


def test_a_name_in_a_models_folder_given_by_option(run: Run, models: Path, tmp_path: Path) -> None:
    shutil.move(models, tmp_path / "others")
    assert run("inspect", "mine", "--models", tmp_path / "others").code == 0
    assert run("inspect", "mine").code == 1


@pytest.mark.usefixtures("cache")
def test_other_facts_of_the_same_size_give_another_answer(
    run: Run, vae_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0.18215 in a table becomes 0.13025: as many bytes."""
    looked = []
    from vaekit.identification import inspect as inspecting

    real = inspecting.inspect_path
    monkeypatch.setattr(inspecting, "inspect_path", lambda path, **told: looked.append(path) or real(path, **told))
    for _ in range(2):
        assert run("inspect", vae_file).code == 0
    assert len(looked) == 1
    contents = tables.contents()
    changed = contents["kl/facts.toml"].replace(b"0.18215", b"0.13025")
    assert changed != contents["kl/facts.toml"]
    assert len(changed) == len(contents["kl/facts.toml"])
    digest = tables.digest_of(contents)
    assert digest == tables.digest()
    other = tables.digest_of(contents | {"kl/facts.toml": changed})
    assert other != digest
    monkeypatch.setattr(tables, "digest", lambda: other)
    assert run("inspect", vae_file).code == 0
    assert len(looked) == 2

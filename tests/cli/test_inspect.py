"""`vaekit inspect` and `vaekit convert`."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from small_tables import columns, save_table_vae
from small_text import save_text_vae

import vaekit
from vaekit.catalog import tables
from vaekit.families import assemble, family_of
from vaekit.families.rae.net import RAEConfig

Run = Callable[..., Any]


def test_it_tells_the_facts(run: Run, vae_file: Path) -> None:
    said = run("inspect", vae_file)
    assert said.code == 0
    for fact in ("kl", "1/4", "0.5", "0.1", "norm_groups = 4", "native", "safetensors"):
        assert fact in said.out


def test_the_columns_of_a_table_are_listed(run: Run, tmp_path: Path) -> None:
    vae = save_table_vae(tmp_path / "vae.safetensors", columns())
    told = run("inspect", vae).out
    for column in ("size: real", "color: categorical", "grade: ordinal", "day: date"):
        assert column in told
    assert "low 2024-01-01, high 2024-03-27" in told
    assert len(run("inspect", vae, "--json").json["schema_records"]) == len(columns())


def test_the_tokens_of_sentences_are_counted(run: Run, tmp_path: Path) -> None:
    """Tokens are no values, of which latents could have more or fewer."""
    save_text_vae(tmp_path / "vae.safetensors")
    said = run("inspect", tmp_path / "vae.safetensors").out
    assert "unit words, 16 tokens, length 8, punctuation" in said and "at most 7 tokens" in said and "fewer" not in said


def test_json_has_every_field(run: Run, vae_file: Path) -> None:
    told = run("inspect", vae_file, "--json").json
    assert told["family"] == "kl"
    assert told["normalization"] == {"shift": [0.1], "scale": [0.5], "patch": 1}
    assert told["config"]["encoder_widths"] == [8, 8, 16]
    assert len(told["fingerprint"]) == 64


def test_a_vae_that_is_only_recognized(run: Run, vae_file: Path, tmp_path: Path) -> None:
    """Told on exit status 0, in words and as JSON; loading it is an error that says what can run it."""
    path = tmp_path / "svd.safetensors"
    keys = {"decoder.mid.block_1.mix_factor": (1,), "decoder.conv_in.weight": (8, 4, 3, 3)}
    save_file({f"first_stage_model.{key}": torch.zeros(shape) for key, shape in keys.items()}, path)
    said = run("inspect", path)
    assert said.code == 0
    for fact in ("Stable Video Diffusion", "1/8", "first_stage_model."):
        assert fact in said.out
    told = run("inspect", path, "--json").json
    assert (told["runnable"], told["latent_channels"], told["factor"]) == (False, 4, 8)
    assert run("inspect", vae_file, "--json").json["runnable"] is True
    refused = run("convert", path, tmp_path / "out.safetensors", "--layout", "native", "--json")
    assert (refused.code, refused.json["error"]["kind"]) == (1, "NotRunnable")
    assert "AutoencoderKLTemporalDecoder" in refused.json["error"]["remedy"]


@pytest.mark.parametrize(
    ("layout", "name"), [("ldm", "out.safetensors"), ("diffusers", "out"), ("native", "n.safetensors")]
)
def test_convert_keeps_the_fingerprint(run: Run, vae_file: Path, tmp_path: Path, layout: str, name: str) -> None:
    said = run("convert", vae_file, tmp_path / name, "--layout", layout, "--json")
    assert said.code == 0
    before, after = (run("inspect", path, "--json").json for path in (vae_file, tmp_path / name))
    assert after["fingerprint"] == before["fingerprint"] == said.json["fingerprint"]
    assert after["layout"] == ("ldm" if layout == "ldm" else layout)


def test_convert_can_change_the_dtype(run: Run, vae_file: Path, tmp_path: Path) -> None:
    run("convert", vae_file, tmp_path / "half.safetensors", "--layout", "native", "--dtype", "fp16")
    assert run("inspect", tmp_path / "half.safetensors", "--json").json["dtypes"] == ["float16"]


# ------------------------------------------------------------ a cached inspection imports no torch


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
    from vaekit.identification import inspect as inspect_module

    real = inspect_module.inspect_path
    monkeypatch.setattr(inspect_module, "inspect_path", lambda path, **told: looked.append(path) or real(path, **told))
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


def test_a_latent_map_of_items_of_one_size(run: Run, tmp_path: Path) -> None:
    """Not a vector: representation autoencoders have positions, though images of one size."""
    config = RAEConfig(3, 64, 1, 96, 14, 3, 4, 32, 1, 48, 16, 16, 4, (1,))
    vaekit.save(assemble(family_of("rae"), config), tmp_path / "rae.safetensors", "native")
    said = run("inspect", tmp_path / "rae.safetensors")
    assert "64 channels at 1/16 size, for items of size 64x64 only" in " ".join(said.out.split())

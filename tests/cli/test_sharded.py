"""Sharded weights in every verb that takes a VAE file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ldm_names import ldm_names
from safetensors.torch import load_file, save_file
from sharded_weights import write_shards

import vaekit
from vaekit.checkpoints.save import save
from vaekit.tasks.doctor import load_with_entry
from vaekit.tasks.options import ModelOptions
from vaekit.vae import VAE

Run = Callable[..., Any]


@pytest.fixture
def vae_file(tmp_path: Path, kl_vae: VAE) -> Path:
    """A VAE that its tensors describe fully: with the usual number of norm groups."""
    save(kl_vae, tmp_path / "native.safetensors")
    return tmp_path / "native.safetensors"


@pytest.fixture
def diffusers_folder(tmp_path: Path, vae_file: Path) -> Callable[..., Path]:
    """A diffusers folder whose weights are sharded."""

    def make(name: str, **options: Any) -> Path:
        folder = tmp_path / name
        save(vaekit.load(vae_file), folder, "diffusers")
        whole = folder / "diffusion_pytorch_model.safetensors"
        write_shards(folder, load_file(whole), **options)
        whole.unlink()
        return folder

    return make


FORMS: dict[str, dict[str, Any]] = {
    "safetensors": {},
    "bin": {"stem": "diffusion_pytorch_model", "ending": ".bin", "count": 3},
    "fp16": {"variant": "fp16"},
    "without an index": {"index": False},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_diffusers_folder_however_it_is_named(
    run: Run, vae_file: Path, tmp_path: Path, diffusers_folder: Callable[..., Path], form: str
) -> None:
    folder = diffusers_folder("pipeline/vae", **FORMS[form])
    (tmp_path / "pipeline" / "model_index.json").write_text("{}")
    shard = next(iter(sorted(folder.glob("*-00002-of-*"))))
    names = [tmp_path / "pipeline", folder, shard, *folder.glob("*.index*.json")]
    told = [run("inspect", name, "--json", "--no-measure").json for name in names]
    expected = run("inspect", vae_file, "--json").json["fingerprint"]
    assert {facts["fingerprint"] for facts in told} == {expected}
    assert {tuple(facts["halves"]) for facts in told} == {("encoder", "decoder")}
    assert {facts["sha256"] for facts in told} == {None}


def test_every_verb(
    run: Run, vae_file: Path, tmp_path: Path, photo: Path, diffusers_folder: Callable[..., Path]
) -> None:
    folder = diffusers_folder("mine")
    shard = folder / "diffusion_pytorch_model-00001-of-00002.safetensors"
    assert run("convert", shard, tmp_path / "whole.safetensors", "--layout", "native").code == 0
    whole, original = load_file(tmp_path / "whole.safetensors"), load_file(vae_file)
    assert all((whole[name] == tensor).all() for name, tensor in original.items())
    assert run("diff", shard, vae_file).code == 0
    for vae, out in ((shard, "a"), (vae_file, "b")):
        assert run("reconstruct", photo, "--vae", vae, "-o", tmp_path / out).code == 0
    (one,), (other,) = ((tmp_path / out).iterdir() for out in ("a", "b"))
    assert one.read_bytes() == other.read_bytes()
    assert load_with_entry(ModelOptions(str(folder)))[0].decoder is not None  # as `doctor` does


def test_list_shows_one_vae_and_its_size(run: Run, tmp_path: Path, diffusers_folder: Callable[..., Path]) -> None:
    folder = diffusers_folder("models/mine")
    (folder / "config.json").unlink()
    shards = sorted(folder.glob("*.safetensors"))
    listing = run("list", "--models", tmp_path / "models", "--json").json
    (entry,) = [vae for vae in listing["vaes"] if "models" in vae["place"]]
    assert not listing["unusable"]
    assert entry["bytes"] == sum(shard.stat().st_size for shard in shards)
    assert run("inspect", entry["name"], "--models", tmp_path / "models").code == 0
    shards[1].unlink()
    listing = run("list", "--models", tmp_path / "models", "--json").json
    (broken,) = listing["unusable"]
    assert shards[1].name in broken["reason"]


def test_a_result_is_cached_until_any_shard_changes(
    run: Run, diffusers_folder: Callable[..., Path], vae_file: Path
) -> None:
    folder = diffusers_folder("mine")
    shards = sorted(folder.glob("*.safetensors"))
    told = run("inspect", shards[0], "--json", "--no-measure").json
    changed = load_file(shards[1])
    name = next(iter(changed))
    changed[name] = changed[name] + 1
    save_file(changed, shards[1])
    again = run("inspect", shards[0], "--json", "--no-measure").json
    assert again["fingerprint"] != told["fingerprint"]


@pytest.mark.parametrize("index", [True, False])
def test_the_boundary_between_the_halves_does_not_pass_for_an_encoder(
    run: Run, tmp_path: Path, vae_file: Path, index: bool
) -> None:
    """The first shard alone would be a whole encoder."""
    tensors = {f"first_stage_model.{key}": tensor for key, tensor in ldm_names(vaekit.load(vae_file)).items()}
    encoder = {key for key in tensors if ".encoder." in key or ".quant_" in key}
    halves = [{key: tensors[key] for key in sorted(keys)} for keys in (encoder, tensors.keys() - encoder)]
    weight_map: dict[str, str] = {}
    for i, half in enumerate(halves, start=1):
        name = f"model-{i:05d}-of-00002.safetensors"
        save_file(half, tmp_path / name)
        weight_map |= dict.fromkeys(half, name)
    if index:
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    first, second = (tmp_path / f"model-0000{i}-of-00002.safetensors" for i in (1, 2))
    assert run("inspect", first, "--json", "--no-measure").json["halves"] == ["encoder", "decoder"]
    assert run("extract", first, tmp_path / "vae.safetensors").code == 0
    second.unlink()
    refused = run("inspect", first, "--json")
    assert (refused.code, refused.json["error"]["kind"]) == (1, "BadCheckpoint")
    assert second.name in refused.json["error"]["found"]


def test_two_halves_in_a_folder_may_be_sharded(run: Run, tmp_path: Path, kl_vae: VAE) -> None:
    save(kl_vae, tmp_path / "whole.safetensors")
    tensors = load_file(tmp_path / "whole.safetensors")
    for half in ("encoder", "decoder"):
        part = {key: tensor for key, tensor in tensors.items() if key.startswith(half)}
        write_shards(tmp_path / "both", part, half)
    assert vaekit.load(tmp_path / "both").encoder is not None
    assert run("inspect", tmp_path / "both", "--json", "--no-measure").json["halves"] == ["encoder", "decoder"]

"""Which weights of a file were taken, in the output of each verb; and non-finite ones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ldm_names import ldm_names
from safetensors.torch import load_file, save_file

from vaekit.checkpoints.save import save
from vaekit.vae import VAE

Run = Callable[..., Any]


@pytest.fixture
def both(tmp_path: Path, kl_vae: VAE) -> Path:
    """A checkpoint with plain weights and their averages."""
    plain = ldm_names(kl_vae)
    ema = {name: tensor * 0.5 for name, tensor in plain.items()}
    torch.save({"state_dict": plain, "ema_state_dict": ema}, tmp_path / "both.ckpt")
    return tmp_path / "both.ckpt"


def test_inspect_states_it_in_text_and_json(run: Run, both: Path) -> None:
    said = run("inspect", both, "--no-measure")
    assert "ema_state_dict" in said.out and "--weights plain" in said.out
    told = run("inspect", both, "--no-measure", "--json").json
    assert (told["selection"]["kind"], told["selection"]["taken"]) == ("ema", "ema_state_dict")
    assert told["selection"]["others"][0]["kind"] == "plain"
    other = run("inspect", both, "--no-measure", "--json", "--weights", "plain").json
    assert other["selection"]["kind"] == "plain"
    assert other["fingerprint"] != told["fingerprint"]


def test_one_line_in_the_verbs_that_use_it(run: Run, both: Path, photo: Path, tmp_path: Path) -> None:
    taken = "took the plain weights (state_dict)"
    choice = ("--weights", "plain")
    assert taken in run("reconstruct", photo, "--vae", both, "-o", tmp_path / "out", *choice).err
    assert taken in run("encode", photo, "--vae", both, "-o", tmp_path / "latents", *choice).err
    assert taken in run("decode", tmp_path / "latents", "--vae", both, "-o", tmp_path / "decoded", *choice).err
    assert taken in run("convert", both, tmp_path / "plain.safetensors", *choice).err
    assert taken in run("extract", both, tmp_path / "extracted.safetensors", *choice).err
    assert "took the averaged weights (ema_state_dict)" in run("diff", both, tmp_path / "plain.safetensors").err
    converted, extracted = (load_file(tmp_path / f"{name}.safetensors") for name in ("plain", "extracted"))
    plain = torch.load(both)["state_dict"]
    assert all(torch.equal(converted[name], plain[name]) for name in plain)
    assert all(torch.equal(extracted[name], plain[name]) for name in plain)


def test_the_verbs_mention_a_config_json_that_contradicts_the_weights(
    run: Run, kl_vae: VAE, photo: Path, tmp_path: Path
) -> None:
    folder, to = tmp_path / "vae", tmp_path / "to"
    save(kl_vae, folder, "diffusers")
    settings = json.loads((folder / "config.json").read_text()) | {"block_out_channels": [64, 128]}
    (folder / "config.json").write_text(json.dumps(settings))
    for arguments in (
        ("inspect", folder, "--no-measure"),
        ("reconstruct", photo, "--vae", folder, "-o", to),
        ("encode", photo, "--vae", folder, "-o", to),
        ("convert", folder, tmp_path / "x.safetensors"),
        ("diff", folder, tmp_path / "x.safetensors"),
    ):
        said = run(*arguments)
        assert (said.code, "block_out_channels [64, 128] instead of [32, 64]" in said.out + said.err) == (0, True)
    (folder / "config.json").write_text(json.dumps(settings | {"scaling_factor": -1}))
    for arguments in (("inspect", folder), ("encode", photo, "--vae", folder, "-o", to)):
        said = run(*arguments)
        assert (said.code, "scaling_factor -1" in said.err) == (1, True)


@pytest.mark.usefixtures("no_card_measures")
def test_compare_and_evaluate_say_it(run: Run, both: Path, photo: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    said = run("compare", photo, "--vae", both, "-o", page, "--weights", "plain")
    assert (said.code, "took the plain weights (state_dict)" in said.err) == (0, True)
    said = run("compare", photo, "--vae", both, "--vae", both, "-o", page, "--weights", "ema", "--weights", "plain")
    assert (said.code, "both.ckpt (ema): took the averaged" in said.err) == (0, True)
    assert "both.ckpt (plain): took the plain" in said.err
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / photo.name).write_bytes(photo.read_bytes())
    said = run("evaluate", "--data", tmp_path / "data", "--vae", both, "--size", 32)
    assert "took the averaged weights (ema_state_dict)" in said.err


def test_diff_and_bake_take_the_choice(run: Run, both: Path, tmp_path: Path, kl_vae: VAE) -> None:
    save(kl_vae, tmp_path / "plain.safetensors")
    assert run("diff", both, both).code == 0
    assert run("diff", both, tmp_path / "plain.safetensors").code == 1
    said = run("diff", both, both, "--weights", "ema", "--weights", "plain", "--json")
    assert (said.code, [note.split()[2] for note in said.json["notes"]]) == (1, ["averaged", "plain"])
    assert run("diff", both, both, *("--weights", "plain") * 3).code == 2
    inside = {f"first_stage_model.{name}": tensor for name, tensor in ldm_names(kl_vae).items()}
    ema = {f"model_ema.{name.replace('.', '')}": tensor * 0.5 for name, tensor in inside.items()}
    save_file(inside | ema, tmp_path / "whole.safetensors")
    baked = tmp_path / "baked.safetensors"
    options = ("--assume-same-normalization", "--weights", "plain", "--json")
    done = run("bake", tmp_path / "whole.safetensors", both, baked, *options)
    for name in ("state_dict", "model_ema"):
        assert any(name in note for note in done.json["notes"])
    after = load_file(baked)
    assert all(torch.equal(after[name], tensor) for name, tensor in inside.items())


def test_what_is_not_there(run: Run, vae_file: Path) -> None:
    refused = run("inspect", vae_file, "--weights", "ema", "--json")
    assert (refused.code, refused.json["error"]["kind"]) == (1, "NotFound")
    assert run("inspect", vae_file, "--weights", "average").code == 2


def test_list_notes_it(run: Run, both: Path) -> None:
    said = run("list", "--models", both.parent)
    assert "ema_state_dict" in said.out


@pytest.fixture
def broken(tmp_path: Path, kl_vae: VAE) -> Path:
    """A VAE with NaN among its weights."""
    with torch.no_grad():
        dict(kl_vae.named_parameters())["decoder.conv_out.bias"][0] = float("nan")
    (tmp_path / "broken").mkdir()
    save(kl_vae, tmp_path / "broken" / "broken.safetensors")
    return tmp_path / "broken" / "broken.safetensors"


def test_non_finite_weights_are_named(run: Run, broken: Path, photo: Path, tmp_path: Path) -> None:
    name = "decoder.conv_out.bias"
    assert name in run("inspect", broken).out
    told = run("inspect", broken, "--json").json
    assert told["non_finite"] == [{"name": name, "nan": 1, "infinite": 0, "of": 3}]
    assert name in run("list", "--models", broken.parent).out
    for dtype in ("fp32", "bf16"):
        refused = run("reconstruct", photo, "--vae", broken, "-o", tmp_path / "out", "--dtype", dtype)
        assert refused.code == 1
        assert name in refused.err
        assert "half precision" not in refused.err


def test_non_finite_latents_are_not_written(run: Run, tmp_path: Path, kl_vae: VAE, photo: Path) -> None:
    with torch.no_grad():
        dict(kl_vae.named_parameters())["encoder.conv_in.bias"][0] = float("inf")
    save(kl_vae, tmp_path / "x.safetensors")
    refused = run("encode", photo, "--vae", tmp_path / "x.safetensors", "-o", tmp_path / "out")
    assert refused.code == 1
    assert "encoder.conv_in.bias" in refused.err
    assert not list((tmp_path / "out").glob("*.safetensors"))

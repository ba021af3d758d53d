"""The collection: what is at hand, duplicates, problems, and how long it takes to look again."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.library import listing
from vaekit.library.listing import list_vaes
from vaekit.vae import VAE


def test_the_builtin_one_is_always_there() -> None:
    found = list_vaes()
    assert [(vae.name, vae.place, vae.facts["catalog_entry"]) for vae in found.vaes] == [
        ("builtin", "inside vaekit", "builtin")
    ]
    assert "sd-vae-ft-mse" in [entry.name for entry in found.known]


@pytest.fixture
def filled(models: Path, kl_vae: VAE, tiny_vae: VAE) -> Path:
    """A VAE in three shapes, one in a checkpoint, one of two halves, and what is none."""
    save(kl_vae, models / "one.safetensors")
    save(kl_vae, models / "sub" / "folder", "diffusers")
    save(kl_vae, models / "ldm.safetensors", "ldm")
    save(tiny_vae, models / "tiny", "tiny")
    weights = load_file(models / "ldm.safetensors")
    unet = {f"model.diffusion_model.input_blocks.{i}.0.weight": torch.zeros(4, 4) for i in range(12)}
    save_file({f"first_stage_model.{key}": value for key, value in weights.items()} | unet, models / "all.safetensors")
    save_file(unet, models / "unet.safetensors")
    (models / "cut.pt").write_bytes((models / "one.safetensors").read_bytes()[:4000])
    return models


def test_duplicates_whatever_their_shape(filled: Path) -> None:
    vaes = {vae.name: vae for vae in list_vaes().vaes}
    assert set(vaes["one"].duplicates) == {"folder", "ldm", "all"}
    assert set(vaes["all"].duplicates) == {"folder", "ldm", "one"}
    assert vaes["builtin"].duplicates == ()
    assert vaes["all"].facts["prefix"] == "first_stage_model."
    assert vaes["folder"].facts["layout"] == "diffusers"


def test_what_is_no_vae_says_why(filled: Path) -> None:
    told = {file.name: file for file in list_vaes().unusable}
    assert told.keys() == {"unet", "cut"}
    assert "UNet" in told["unet"].reason
    assert told["cut"].error == "BadCheckpoint"


def test_a_second_look_opens_nothing(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = list_vaes()

    def never(path: Path) -> None:
        raise AssertionError(path)

    monkeypatch.setattr(listing, "inspect_file", never)
    assert list_vaes().vaes == first.vaes
    assert list_vaes().unusable == first.unusable


def test_a_changed_file_is_looked_at_again(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    list_vaes()
    looked: list[Path] = []
    real = listing.inspect_file
    monkeypatch.setattr(listing, "inspect_file", lambda path: looked.append(path) or real(path))
    config = filled / "sub" / "folder" / "config.json"
    config.write_text(config.read_text().replace("AutoencoderKL", "AutoencoderKL "))
    (filled / "cut.pt").write_bytes(b"")
    list_vaes()
    assert sorted(path.name for path in looked) == ["cut.pt", "folder"]


def test_an_interrupted_scan_keeps_what_it_found(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = listing.inspect_file
    looked: list[Path] = []

    def look(path: Path) -> object:
        looked.append(path)
        if len(looked) == 4:
            raise KeyboardInterrupt
        return real(path)

    monkeypatch.setattr(listing, "inspect_file", look)
    with pytest.raises(KeyboardInterrupt):
        list_vaes()
    before = set(looked[:3])
    looked[:] = [Path()] * 10
    list_vaes()
    assert not before & set(looked)


def test_a_known_vae_is_at_hand_under_any_name(models: Path, kl_vae: VAE, with_entry: Callable[..., None]) -> None:
    save(kl_vae, models / "mine.safetensors")
    save_file(
        load_file(models / "mine.safetensors"), models / "mine.safetensors"
    )  # without the normalization in its metadata
    with_entry("known", (models / "mine.safetensors").read_bytes(), space="SDXL", fp16="unsafe")
    found = list_vaes()
    (mine,) = (vae for vae in found.vaes if vae.name == "mine")
    assert (mine.facts["catalog_entry"], mine.facts["fp16"], mine.facts["candidate_models"]) == (
        "known",
        "unsafe",
        ["SDXL"],
    )
    assert "known" not in [entry.name for entry in found.known]


@pytest.mark.nightly
def test_a_thousand_files(models: Path, kl_vae: VAE) -> None:
    """The bounds are generous: on two busy cores it takes a tenth of them."""
    unet = {f"model.diffusion_model.input_blocks.{i}.0.weight": torch.zeros(1) for i in range(12)}
    for i in range(1000):
        save_file(unet, models / f"{i:04}.safetensors")
    start = time.perf_counter()
    assert len(list_vaes().unusable) == 1000
    first = time.perf_counter() - start
    start = time.perf_counter()
    assert len(list_vaes().unusable) == 1000
    assert first < 60
    assert time.perf_counter() - start < 5


def test_what_the_hubs_cache_has_is_at_hand(
    hub: Any, with_entry: Callable[..., None], kl_vae: VAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants, hf_hub_download

    save(kl_vae, tmp_path / "x.safetensors")
    content = (tmp_path / "x.safetensors").read_bytes()
    with_entry("known", content)
    hub.files["owner/name/vae.safetensors"] = content
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    assert "known" in [entry.name for entry in list_vaes().known]
    hf_hub_download("owner/name", "vae.safetensors")
    found = list_vaes()
    assert ("known", "the Hub's cache") in [(vae.name, vae.place) for vae in found.vaes]
    assert "known" not in [entry.name for entry in found.known]


def test_a_rounded_copy_of_a_known_vae_is_called_so(models: Path) -> None:
    save(load("builtin").bfloat16(), models / "small.safetensors")
    (small,) = (vae for vae in list_vaes().vaes if vae.name == "small")
    assert (small.duplicates, small.rounded) == ((), ("builtin",))
    assert small.facts["catalog_entry"] == "builtin"

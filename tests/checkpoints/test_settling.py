"""What a file leaves open is settled by the user, by known weights, or by measuring; and it is said how."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from vaekit.checkpoints import cards, settling
from vaekit.checkpoints.borders import BorderError, Borders
from vaekit.checkpoints.cards import Kind, LatentStatistics
from vaekit.checkpoints.inspecting import inspect
from vaekit.checkpoints.loading import load
from vaekit.checkpoints.measuring import measure_latents
from vaekit.checkpoints.saving import save
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE

NEAR, FAR = LatentNormalization((0.0,), (0.5,)), LatentNormalization((0.0,), (0.05,))


@pytest.fixture(scope="module")
def stranger() -> VAE:
    """The built-in VAE with other weights in its encoder: no card knows it, and its latents are still a VAE's."""
    vae = copy.deepcopy(load("builtin")).float()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in [*vae.encoder.parameters(), *vae.decoder.parameters()]:
            tensor += 0.01 * tensor.square().mean().sqrt() * torch.randn(tensor.shape, generator=generator)
    return vae


@pytest.fixture
def file(stranger: VAE, tmp_path: Path) -> Path:
    """Without a word about it; but for the number of norm groups, which only a config can tell."""
    path = tmp_path / "stranger.safetensors"
    save(stranger, path, "native")
    metadata = {"vaekit.config": '{"norm_groups": 8}'}
    save_file(load_file(path), path, metadata)
    return path


@pytest.fixture
def twins(stranger: VAE, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two kinds with the shapes of the built-in VAE: latents like its own, and ones ten times as large."""
    seen = measure_latents(stranger)
    match = {"latent_channels": 16, "decoder_widths": (32, 64, 128, 128)}
    near = Kind("Near", "kl", match, NEAR, latents=LatentStatistics(seen.mean, seen.std))
    tenfold = LatentStatistics(tuple(10 * mean for mean in seen.mean), tuple(10 * std for std in seen.std))
    far = Kind("Far", "kl", match, FAR, latents=tenfold)
    monkeypatch.setattr(cards, "kinds", lambda: (near, far))


@pytest.mark.usefixtures("twins")
def test_twins_are_told_apart_by_measuring_and_it_is_said(file: Path) -> None:
    seen = inspect(file)
    assert (seen.normalization, seen.known_as) == (NEAR, ("Near",))
    assert "measured: std" in seen.normalization_source
    assert "confidence 0.9" in seen.normalization_source
    assert load(file).normalization == NEAR


@pytest.mark.usefixtures("twins")
def test_the_users_word_comes_first(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "kinds", cards.kinds, raising=False)
    monkeypatch.setattr("vaekit.checkpoints.users_word.kinds", cards.kinds)
    assert load(file, kind="far").normalization == FAR
    assert load(file, kind="far", padding="reflect").config.padding == "reflect"


@pytest.mark.usefixtures("twins")
def test_without_measuring_twins_stay_open(file: Path) -> None:
    seen = inspect(file, measure=False)
    assert seen.normalization is None
    assert "Near or Far" in seen.normalization_source


def test_what_is_like_nothing_known_gets_a_scale_to_try(file: Path) -> None:
    seen = inspect(file)
    assert seen.normalization is None
    assert seen.normalization_source.startswith("measured scale 1/std = 0.")
    assert any("measured scale" in problem for problem in seen.problems)


@pytest.mark.usefixtures("twins")
def test_measured_padding_is_used_and_reported(file: Path) -> None:
    seen = inspect(file)
    assert seen.config["padding"] == "zeros"
    assert "measured: zeros: border error" in seen.padding_source
    assert load(file).config.padding == "zeros"


@pytest.mark.usefixtures("twins")
def test_a_vae_that_reflects_is_run_so(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Borders("reflect", BorderError(9.0, 1.0), BorderError(1.0, 1.0))
    monkeypatch.setattr(settling, "borders_of", lambda _: found)
    assert load(file).config.padding == "reflect"
    assert load(file, padding="zeros").config.padding == "zeros"
    assert "reflect: border error 1.0/255" in inspect(file).padding_source


@pytest.mark.usefixtures("twins")
def test_an_unclear_padding_is_called_assumed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Borders("unsure", BorderError(1.0, 1.0), BorderError(1.0, 1.0))
    monkeypatch.setattr(settling, "borders_of", lambda _: found)
    assert load(file).config.padding == "zeros"
    assert inspect(file).padding_source.startswith("assumed")


@pytest.mark.usefixtures("twins")
def test_what_the_file_tells_is_not_measured(stranger: VAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> None:
        pytest.fail("measured what the file tells")

    path = tmp_path / "told.safetensors"
    reflecting = copy.deepcopy(stranger)
    save(reflecting, path, "native")
    save(load(path, padding="reflect"), path, "native")
    for name in ("borders_of", "latents_of", "hashes_of"):
        monkeypatch.setattr(settling, name, fail)
    vae = load(path)
    assert vae.normalization == stranger.normalization
    assert vae.config.padding == "reflect"
    assert inspect(path).padding_source == "the file's metadata"


@pytest.mark.usefixtures("twins")
def test_measurements_are_remembered(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vaekit.checkpoints import reading_weights

    before = inspect(file)
    for name in ("measure_latents", "measure_borders", "identity_of"):
        monkeypatch.setattr(reading_weights, name, lambda *_: pytest.fail("asked again"))
    assert inspect(file) == before


@pytest.mark.usefixtures("twins")
def test_half_a_vae_is_not_measured(stranger: VAE, tmp_path: Path) -> None:
    half = VAE(None, stranger.to_posterior, stranger.decoder, stranger.to_likelihood, None)
    save(half, tmp_path / "decoder.safetensors", "native")
    save_file(
        load_file(tmp_path / "decoder.safetensors"),
        tmp_path / "decoder.safetensors",
        {"vaekit.config": '{"norm_groups": 8}'},
    )
    seen = inspect(tmp_path / "decoder.safetensors")
    assert (seen.normalization, seen.padding_source) == (None, "")

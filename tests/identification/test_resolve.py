"""What a file leaves open is settled by the user, by known weights, or by measuring; and it is said how."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import lacks
from safetensors.torch import load_file, save_file
from slow_cases import nightly

from vaekit.catalog import entries
from vaekit.catalog.entries import CatalogEntry, LatentSpace, LatentStatistics
from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.errors import NotFound, WrongTensors
from vaekit.identification import build as build_module
from vaekit.identification import resolve
from vaekit.identification.build import build
from vaekit.identification.identify import Identified, identify
from vaekit.identification.match import WeightMatch
from vaekit.identification.probe_latents import probe_latents
from vaekit.identification.probe_padding import BorderError, PaddingProbe
from vaekit.library.inspect import inspect
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE

NEAR, FAR = LatentNormalization((0.0,), (0.5,)), LatentNormalization((0.0,), (0.05,))


@pytest.fixture(scope="module")
def stranger() -> VAE:
    """The built-in VAE with other weights in its encoder: no entry matches it, and its latents are still a VAE's."""
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
    seen = probe_latents(stranger)
    match = {"latent_channels": 16, "decoder_widths": (32, 64, 128, 128)}
    near = LatentSpace("Near", "kl", match, NEAR, latents=LatentStatistics(seen.mean, seen.std))
    tenfold = LatentStatistics(tuple(10 * mean for mean in seen.mean), tuple(10 * std for std in seen.std))
    far = LatentSpace("Far", "kl", match, FAR, latents=tenfold)
    monkeypatch.setattr(entries, "latent_spaces", lambda: (near, far))


@pytest.mark.usefixtures("twins")
def test_twins_are_told_apart_by_measuring_and_it_is_said(file: Path) -> None:
    seen = inspect(file)
    assert (seen.normalization, seen.candidate_models) == (NEAR, ("Near",))
    assert "measured: std" in seen.normalization_source
    assert "confidence 0.9" in seen.normalization_source
    assert load(file).normalization == NEAR


@pytest.mark.usefixtures("twins")
def test_overrides_come_first(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve, "latent_spaces", entries.latent_spaces)
    assert load(file, latent_space="far").normalization == FAR
    assert load(file, latent_space="far", padding="reflect").config.padding == "reflect"


def test_an_override_that_cannot_be_is_refused(kl_vae: VAE, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save(kl_vae, path)
    with pytest.raises(NotFound) as unknown:
        load(path, latent_space="SD9")
    assert "SDXL" in unknown.value.expected
    with pytest.raises(WrongTensors):
        load(path, latent_space="sdxl")


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that a network was built of, in order."""
    built: list[Path] = []

    def counted(identified: Identified) -> VAE:
        built.append(identified.path)
        return build(identified)

    monkeypatch.setattr(build_module, "build", counted)
    return built


def bare(file: Path) -> Path:
    """The same weights without metadata."""
    save_file(load_file(file), file)
    return file


def test_a_known_vae_is_built_once(builds: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "renamed.safetensors"
    save(load("builtin"), path, "native")
    builds.clear()
    assert load(bare(path)).config == load("builtin").config
    assert len(builds) == 2, "once each"


@pytest.mark.usefixtures("twins")
@pytest.mark.parametrize("verdict", ["reflect", *nightly(None, "zeros", "unsure")])
def test_a_vae_of_unknown_normalization_and_padding_is_built_once(
    file: Path, builds: list[Path], monkeypatch: pytest.MonkeyPatch, verdict: str | None
) -> None:
    if verdict is not None:
        seen = PaddingProbe(verdict, BorderError(1.0, 1.0), BorderError(1.0, 1.0))
        monkeypatch.setattr(resolve, "probe_padding", lambda _: seen)
    vae = load(file)
    assert builds == [file]
    again = build(resolve.resolve(identify(file)))
    assert vae.config == again.config
    assert vae.config.padding == ("reflect" if verdict == "reflect" else "zeros")
    assert vae.normalization == again.normalization == NEAR
    assert vae.origin == again.origin
    assert not vae.training
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.equal(vae.reconstruct(x), again.reconstruct(x))
    builds.clear()
    inspect(file)
    assert builds == [], "measurements are cached"


def test_a_vae_of_unknown_padding_is_built_once(file: Path, builds: list[Path]) -> None:
    assert load(file).normalization is None
    assert builds == [file]
    assert "measured" in inspect(file).padding_source


def test_an_inspection_builds_once(file: Path, builds: list[Path]) -> None:
    inspect(file)
    assert builds == [file]


@pytest.mark.usefixtures("twins")
def test_without_measuring_twins_stay_open(file: Path) -> None:
    seen = inspect(file, measure=False)
    assert seen.normalization is None
    assert not lacks(seen.normalization_source, "Near", "Far")


def test_what_is_like_nothing_known_gets_a_scale_to_try(file: Path) -> None:
    seen = inspect(file)
    assert seen.normalization is None
    assert "1/std = 0." in seen.normalization_source
    assert seen.problems


@pytest.mark.usefixtures("twins")
def test_measured_padding_is_used_and_reported(file: Path) -> None:
    seen = inspect(file)
    assert seen.config["padding"] == "zeros"
    assert "zeros" in seen.padding_source
    assert load(file).config.padding == "zeros"


@pytest.mark.usefixtures("twins")
def test_a_vae_that_reflects_is_run_so(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = PaddingProbe("reflect", BorderError(9.0, 1.0), BorderError(1.0, 1.0))
    monkeypatch.setattr(resolve, "cached_padding_probe", lambda *_: found)
    assert load(file).config.padding == "reflect"
    assert load(file, padding="zeros").config.padding == "zeros"
    assert not lacks(inspect(file).padding_source, "reflect", "1.0/255")


@pytest.mark.usefixtures("twins")
def test_an_unclear_padding_is_called_assumed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = PaddingProbe("unsure", BorderError(1.0, 1.0), BorderError(1.0, 1.0))
    monkeypatch.setattr(resolve, "cached_padding_probe", lambda *_: found)
    assert load(file).config.padding == "zeros"
    assert inspect(file).padding_source.startswith("assumed")


@pytest.mark.usefixtures("twins")
def test_what_the_file_tells_is_not_measured(stranger: VAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        pytest.fail("measured what the file tells")

    path = tmp_path / "told.safetensors"
    reflecting = copy.deepcopy(stranger)
    save(reflecting, path, "native")
    save(load(path, padding="reflect"), path, "native")
    for name in ("cached_padding_probe", "cached_latent_probe", "cached_hashes"):
        monkeypatch.setattr(resolve, name, fail)
    vae = load(path)
    assert vae.normalization == stranger.normalization
    assert vae.config.padding == "reflect"
    assert inspect(path).padding_source == "the file's metadata"


@pytest.mark.usefixtures("twins")
def test_measurements_are_remembered(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = inspect(file)
    for name in ("probe_latents", "probe_padding", "identity_of"):
        monkeypatch.setattr(resolve, name, lambda *_: pytest.fail("asked again"))
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


def test_recognized_weights_tell_which_of_the_spaces_with_equal_shapes(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wan 2.1 and Qwen-Image have one normalization: without their weights, both are named."""
    match = {"latent_channels": 16, "decoder_widths": (32, 64, 128, 128)}
    both = tuple(LatentSpace(name, "kl", match, NEAR) for name in ("One", "Other"))
    monkeypatch.setattr(entries, "latent_spaces", lambda: both)
    identified = identify(file)
    assert [space.name for space in identified.latent_spaces] == ["One", "Other"]
    entry = CatalogEntry("x", "", "", (), latent_space="Other")
    settled = resolve.resolved_by(identified, WeightMatch(entry, "by its fingerprint"))
    assert [space.name for space in settled.latent_spaces] == ["Other"]
    assert settled.normalization == NEAR

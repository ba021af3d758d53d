"""Known weights are known under any name, layout, format and precision; relatives are told apart from copies."""

import copy
import hashlib
import re
from pathlib import Path

import pytest
import torch
from refusals import lacks
from safetensors.torch import load_file, save_file

from vaekit.catalog.entries import CatalogEntry, CatalogFile, entry_named, latent_space_named
from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.identification import match, resolve
from vaekit.identification.fingerprint import identity_of, tensors_of
from vaekit.identification.match import match_weights
from vaekit.library.inspect import inspect
from vaekit.vae import VAE

HALF = [torch.float16, torch.bfloat16]


@pytest.fixture(scope="module")
def builtin() -> VAE:
    return load("builtin").float()


def changed(vae: VAE, half: str, amount: float) -> VAE:
    """A copy with noise of this size, relative to each tensor, on one half."""
    copied = copy.deepcopy(vae)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in getattr(copied, half).parameters():
            size = tensor.square().mean().sqrt()
            tensor += amount * size * torch.randn(tensor.shape, generator=generator)
    return copied


def bare(vae: VAE, path: Path, layout: str = "ldm") -> Path:
    """A file without any metadata."""
    save(vae, path, layout)
    save_file(load_file(path), path)
    return path


@pytest.mark.parametrize("layout", ["native", "ldm", "diffusers"])
def test_a_copy_without_metadata_is_recognized_and_runs_the_same(builtin: VAE, tmp_path: Path, layout: str) -> None:
    path = bare(builtin, tmp_path / "renamed.safetensors", layout)
    seen = inspect(path)
    assert seen.catalog_entry == entry_named("builtin")
    assert "fingerprint" in seen.recognized
    assert seen.normalization == builtin.normalization
    assert "builtin" in seen.normalization_source
    loaded = load(path)
    assert loaded.normalization == builtin.normalization
    assert loaded.config == builtin.config  # norm groups included, which weights do not tell
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.equal(loaded.reconstruct(x), builtin.reconstruct(x))


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("back", [False, True])
def test_rounded_copies_are_recognized(builtin: VAE, tmp_path: Path, dtype: torch.dtype, back: bool) -> None:
    rounded = copy.deepcopy(builtin).to(dtype)
    path = bare(rounded.float() if back else rounded, tmp_path / "x.safetensors")
    seen = inspect(path)
    assert seen.catalog_entry == entry_named("builtin")
    assert seen.normalization == builtin.normalization


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_one_half_is_recognized_alone(builtin: VAE, tmp_path: Path, half: str) -> None:
    alone = VAE(
        builtin.encoder if half == "encoder" else None,
        builtin.to_posterior,
        builtin.decoder if half == "decoder" else None,
        builtin.to_likelihood,
        builtin.normalization,
    )
    seen = inspect(bare(alone, tmp_path / "x.safetensors", "native"))
    assert seen.catalog_entry == entry_named("builtin")
    assert half in seen.recognized


def test_a_new_decoder_keeps_the_latent_space(builtin: VAE, tmp_path: Path) -> None:
    path = bare(changed(builtin, "decoder", 0.05), tmp_path / "x.safetensors")
    seen = inspect(path)
    assert seen.catalog_entry is None
    assert seen.normalization == load(path).normalization == builtin.normalization
    assert not lacks(seen.normalization_source, "encoder", "builtin")
    assert any(not lacks(sentence, "encoder", "builtin") for sentence in seen.relatives)
    assert any(re.search(r"decoder.*\b[45]\.", sentence) for sentence in seen.relatives)


def test_a_new_encoder_may_be_a_new_latent_space(builtin: VAE, tmp_path: Path) -> None:
    path = bare(changed(builtin, "encoder", 0.05), tmp_path / "x.safetensors")
    seen = inspect(path)
    assert (seen.catalog_entry, seen.normalization) == (None, None)
    assert any("fine-tune" in sentence for sentence in seen.relatives)


@pytest.mark.parametrize("amount", [0.004, 0.02])
@pytest.mark.parametrize("dtype", [torch.float32, *HALF])
def test_a_light_fine_tune_is_no_copy(builtin: VAE, amount: float, dtype: torch.dtype) -> None:
    tuned = changed(builtin, "decoder", amount).to(dtype)
    assert match_weights(identity_of(tensors_of(tuned))).entry is None


def test_strangers_are_nobody(builtin: VAE) -> None:
    generator = torch.Generator().manual_seed(1)
    stranger = copy.deepcopy(builtin)
    with torch.no_grad():
        for tensor in stranger.parameters():
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
    found = match_weights(identity_of(tensors_of(stranger)))
    assert (found.entry, found.same_encoder, found.relatives) == (None, None, ())


def test_weights_that_are_no_numbers_have_hashes_too(builtin: VAE) -> None:
    broken = copy.deepcopy(builtin)
    with torch.no_grad():
        for tensor in broken.parameters():
            tensor.fill_(float("nan"))
    assert match_weights(identity_of(tensors_of(broken))).entry is None


def test_a_file_with_a_verified_hash_teaches_its_weights(
    kl_vae: VAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bare(kl_vae, tmp_path / "published.safetensors")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    file = CatalogFile("x.safetensors", "someone/x", digest, verified=True)
    entry = CatalogEntry("x-vae", "a VAE", "MIT", (file,), latent_space="SDXL")
    monkeypatch.setattr(match, "catalog_entries", lambda: (entry,))
    converted = bare(kl_vae.half(), tmp_path / "converted.safetensors", "diffusers")
    assert inspect(converted).catalog_entry is None
    seen = inspect(path)
    assert (seen.catalog_entry, seen.sha256) == (entry, digest)
    assert "(verified)" in seen.recognized
    sdxl = latent_space_named("SDXL")
    assert sdxl is not None
    assert seen.normalization == sdxl.normalization
    again = inspect(converted)
    assert again.catalog_entry == entry
    assert "float16" in again.recognized
    assert again.normalization == sdxl.normalization


def test_an_unverified_hash_names_a_file_and_teaches_nothing(
    kl_vae: VAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bare(kl_vae, tmp_path / "x.safetensors")
    entry = CatalogEntry("x", "a VAE", "MIT", (CatalogFile("x", "a/x", hashlib.sha256(path.read_bytes()).hexdigest()),))
    monkeypatch.setattr(match, "catalog_entries", lambda: (entry,))
    assert "unverified" in inspect(path).recognized
    assert inspect(bare(kl_vae, tmp_path / "y.safetensors", "native")).catalog_entry is None


def test_hashes_are_read_once(kl_vae: VAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bare(kl_vae, tmp_path / "x.safetensors")
    before = inspect(path, measure=False)
    monkeypatch.setattr(resolve, "identity_of", lambda _: pytest.fail("hashed again"))
    assert inspect(path, measure=False) == before
    told = inspect(path, hash=False, measure=False)
    assert (told.fingerprint, told.sketches, told.sha256) == (None, None, None)

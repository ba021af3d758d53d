"""VAEs that `bake` refuses to put into a checkpoint, and what it says."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from baking import FLUX_SIGN, SD1_SIGN, SD3_SIGN, SDXL_SIGN, changed, normalization_metadata
from refusals import lacks, refuses

from vaekit.catalog.entries import CatalogEntry, CatalogFile
from vaekit.checkpoints.bake import bake
from vaekit.checkpoints.save import save
from vaekit.errors import BadCheckpoint, CannotWrite, LatentMismatch, UnknownVAE
from vaekit.formats.safetensors import raw_header
from vaekit.identification import match
from vaekit.vae import VAE

Make = Callable[..., Path]
Shapes = dict[str, tuple[int, ...]]


def test_latents_of_another_kind_are_refused(
    sparse_file: Make, sd_shapes: Callable[..., Shapes], tmp_path: Path
) -> None:
    def refused(sign: Shapes, channels: int, vae: Path, *facts: str) -> None:
        for own in (sd_shapes(channels, "vae."), {}):
            path = sparse_file("whole.safetensors", sign | own)
            with refuses(LatentMismatch, *facts):
                bake(path, vae, tmp_path / "out.safetensors", assume_same_normalization=True)
        assert not (tmp_path / "out.safetensors").exists()

    xl = sparse_file("xl.safetensors", sd_shapes(4), normalization_metadata(0.13025))
    flux = sparse_file("flux.safetensors", sd_shapes(16), normalization_metadata(0.3611, 0.1159))
    refused(SD1_SIGN, 4, xl, "SD1", "SDXL", "0.13025", "0.18215")
    refused(SD1_SIGN, 4, flux, "SD1", "FLUX.1", "16")
    refused(SDXL_SIGN, 4, flux, "SDXL", "FLUX.1")
    refused(SD3_SIGN, 16, flux, "SD3", "FLUX.1", "0.3611", "1.5305")
    refused(FLUX_SIGN, 16, xl, "FLUX.1", "SDXL")


def test_a_vae_of_unknown_normalization_needs_a_word(
    sparse_file: Make, sd_shapes: Callable[..., Shapes], tmp_path: Path
) -> None:
    names = sd_shapes(4)
    path = sparse_file("whole.safetensors", SDXL_SIGN | {f"first_stage_model.{key}": names[key] for key in names})
    unknown = sparse_file("vae.safetensors", names)
    done = bake(path, unknown, tmp_path / "out.safetensors")  # all zeros, as the checkpoint's own
    (note,) = done.notes
    assert not lacks(note, "normalization", "encoder")
    (tmp_path / "out.safetensors").unlink()
    with open(unknown, "r+b") as file:  # a number of each half is another one
        for name in ("encoder.conv_in.weight", "decoder.conv_in.weight"):
            start = 8 + len(raw_header(unknown)) + json.loads(raw_header(unknown))[name]["data_offsets"][0]
            file.seek(start)
            file.write(b"\0\x3c")
    with refuses(LatentMismatch, "SD1 / SD2", "SDXL", "0.13025", "--assume-same"):
        bake(path, unknown, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()
    done = bake(path, unknown, tmp_path / "out.safetensors", assume_same_normalization=True)
    assert "0.13025" in done.notes[0]


def test_a_vae_its_entry_knows_is_refused_elsewhere(
    sparse_file: Make, sd_shapes: Callable[..., Shapes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = sd_shapes(4)
    path = sparse_file("whole.safetensors", SDXL_SIGN | {f"first_stage_model.{key}": names[key] for key in names})
    bare = sparse_file("vae.safetensors", names)
    digest = hashlib.sha256(bare.read_bytes()).hexdigest()
    entry = CatalogEntry(
        "x-vae", "a VAE", "MIT", (CatalogFile("x", "a/x", digest, verified=True),), latent_space="SD1 / SD2"
    )
    monkeypatch.setattr(match, "catalog_entries", lambda: (entry,))
    with refuses(LatentMismatch, "0.18215", "x-vae", "0.13025", "SDXL"):
        bake(path, bare, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_where_nothing_is_known_that_is_said(kl_vae: VAE, whole_checkpoint: Make, tmp_path: Path) -> None:
    save(changed(kl_vae), tmp_path / "new.safetensors")
    done = bake(whole_checkpoint(kl_vae), tmp_path / "new.safetensors", tmp_path / "out.safetensors")
    assert done.notes == (
        "The checkpoint's normalization is unknown, so it could not be verified that the VAE has the same.",
    )


def test_another_family_is_refused(kl_vae: VAE, tiny_vae: VAE, whole_checkpoint: Make, tmp_path: Path) -> None:
    save(tiny_vae, tmp_path / "new.safetensors")
    with refuses(LatentMismatch, "tiny", "kl"):
        bake(whole_checkpoint(kl_vae), tmp_path / "new.safetensors", tmp_path / "out.safetensors")


def test_what_is_refused(kl_vae: VAE, whole_checkpoint: Make, tmp_path: Path) -> None:
    path = whole_checkpoint(kl_vae)
    save(kl_vae, tmp_path / "new.safetensors")
    new, out = tmp_path / "new.safetensors", tmp_path / "out.safetensors"
    for taken in (path, new):
        with pytest.raises(CannotWrite):
            bake(path, new, taken)
    with refuses(CannotWrite, "out.ckpt", ".safetensors", "out.safetensors"):
        bake(path, new, tmp_path / "out.ckpt")
    with pytest.raises(UnknownVAE):
        bake(path, whole_checkpoint(None, "bare.safetensors"), out)
    with pytest.raises(UnknownVAE):
        bake(tmp_path / "bare.safetensors", new, out)
    with refuses(BadCheckpoint, "x-00002-of-00002.safetensors"):
        bake(path.rename(tmp_path / "x-00001-of-00002.safetensors"), new, out)
    whole_checkpoint(kl_vae)
    assert not out.exists()
    with pytest.raises(CannotWrite):
        bake(tmp_path / "whole.safetensors", new, tmp_path / f"{'x' * 300}.safetensors")

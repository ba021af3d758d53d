"""Exchange of cached latents on whole VAEs and images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from other_caches import kohya_file, latents, small_cache
from PIL import Image
from safetensors.torch import save_file

from vaekit.checkpoints.latent_files import LatentOrigin, origin_of
from vaekit.checkpoints.save import save
from vaekit.errors import LatentMismatch, NotFound
from vaekit.families.kl.net import KLConfig
from vaekit.latent_cache.open import open_cache
from vaekit.normalization import LatentNormalization
from vaekit.tasks.cache_exchange import audit, audit_json, export, image_size, import_latents, reference_of
from vaekit.tasks.options import ModelOptions
from vaekit.vae import VAE


@pytest.fixture
def vae(random_vae: Callable[..., VAE], kl_config: KLConfig) -> VAE:
    return random_vae(kl_config, LatentNormalization((0.0,), (0.2,)))


@pytest.fixture
def model(vae: VAE, tmp_path: Path) -> ModelOptions:
    save(vae, tmp_path / "vae.safetensors")
    return ModelOptions(str(tmp_path / "vae.safetensors"))


@torch.no_grad()
def encoded_files(vae: VAE, folder: Path, scale: float = 1.0) -> list[Path]:
    """Raw latents of images as the node SaveLatent stores them, and the images."""
    folder.mkdir()
    paths = []
    for i in range(8):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        image = Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC)
        image.save(folder / f"{i}.png")
        x = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None] / 127.5 - 1
        tensors = {"latent_tensor": scale * vae.encode(x).mode, "latent_format_version_0": torch.tensor([])}
        paths.append(folder / f"{i}.latent")
        save_file(tensors, paths[-1])
    return paths


def test_latents_of_the_given_vae_are_imported_and_decoded(tmp_path: Path, vae: VAE, model: ModelOptions) -> None:
    encoded_files(vae, tmp_path / "in")
    result = import_latents(tmp_path / "in", tmp_path / "out", model)
    cache = open_cache(tmp_path / "out")
    assert result.items == 8 and cache.origin == origin_of(vae) and not result.quarantine
    assert [item.name for item in cache.items] == [f"{i}.png" for i in range(8)] and result.by_image == 8
    assert all(item.size == (32, 32) for item in cache.items)


def test_latents_that_were_scaled_are_refused(tmp_path: Path, vae: VAE, model: ModelOptions) -> None:
    encoded_files(vae, tmp_path / "in", scale=0.2)
    with pytest.raises(LatentMismatch):
        import_latents(tmp_path / "in", tmp_path / "out", model)


def test_export_and_audit(tmp_path: Path, vae: VAE) -> None:
    small_cache(tmp_path / "cache", origin=origin_of(vae))
    result = export(tmp_path / "cache", tmp_path / "out", "kohya")
    assert result.written == 2 and not result.failures
    assert audit(tmp_path / "out").clean and audit(tmp_path / "cache").clean
    values = audit_json(audit(tmp_path / "out"))
    assert values["clean"] is True and values["formats"] == {"kohya:sd": 2} and values["counts"] == {}
    with pytest.raises(NotFound):
        export(tmp_path / "out", tmp_path / "x", "kohya")


def test_an_audit_with_the_vae_that_should_have_made_the_files(tmp_path: Path, model: ModelOptions) -> None:
    for i in range(8):
        kohya_file(tmp_path / "in", f"{i}", "sd", latents(i, std=5.0))
    assert audit(tmp_path / "in", model).clean


def test_vaes_without_encoder_have_no_reference(vae: VAE) -> None:
    measured = reference_of(vae)
    assert len(measured) == 2 and all(len(each.std) == 4 for each in measured)
    vae.encoder = None
    assert reference_of(vae) == ()


def test_sizes_of_images_are_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 30))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    image.save(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"x")
    assert [image_size(tmp_path / name) for name in ("a.jpg", "b.png", "c.png")] == [(40, 30), (30, 40), None]


def test_origins_of_caches_are_kept(tmp_path: Path) -> None:
    origin = LatentOrigin("c" * 64, "kl", small_geometry(), None)
    small_cache(tmp_path / "cache", origin=origin)
    export(tmp_path / "cache", tmp_path / "out", "comfyui")
    assert audit(tmp_path / "out").clean


def small_geometry() -> object:
    from vaekit.geometry import Geometry

    return Geometry(3, 2, (4, 4))

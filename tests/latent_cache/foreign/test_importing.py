"""Files of other programs become a cache of vaekit, if the given VAE made them."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_cache import ORIGIN
from other_caches import ai_toolkit_file, audited, comfyui_file, kohya_file, latents, musubi_file, small_cache
from PIL import Image
from safetensors.torch import save_file

from vaekit.checkpoints.latent_files import LatentOrigin
from vaekit.errors import BadLatent, CannotWrite, LatentMismatch, NotFound, UnknownNormalization
from vaekit.geometry import Geometry
from vaekit.latent_cache.foreign.export import ExportOptions, export_cache
from vaekit.latent_cache.foreign.find import format_named
from vaekit.latent_cache.foreign.importing import Import, import_files
from vaekit.latent_cache.foreign.likely import ChannelStatistics
from vaekit.latent_cache.foreign.own import audit_cache
from vaekit.latent_cache.item_list import read_quarantine
from vaekit.latent_cache.open import LatentCache, open_cache
from vaekit.normalization import LatentNormalization

SDXL = replace(ORIGIN, normalization=LatentNormalization((0.0,), (0.13025,)))
FLUX = LatentOrigin("f" * 64, "kl", Geometry(3, 16, (8, 8)), LatentNormalization((0.1159,), (0.3611,)))
FLUX2 = LatentOrigin(
    "2" * 64,
    "kl",
    Geometry(3, 32, (8, 8)),
    LatentNormalization(tuple(i / 64 for i in range(128)), tuple(1 + i / 64 for i in range(128)), 2),
)


def no_size(_path: Path) -> None:
    return None


def imported(
    folder: Path, out: Path, origin: LatentOrigin = SDXL, name: str | None = None, std: float | None = None
) -> tuple[LatentCache, Import]:
    wanted = None if name is None else format_named(name, reading=True)
    z = origin.geometry.latent_channels
    reference = () if std is None else (ChannelStatistics((0.0,) * z, (std,) * z),)
    result = import_files(folder, out, origin, no_size, reference, wanted)
    return open_cache(out), result


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        *(("kohya", origin) for origin in (SDXL, FLUX)),
        *(("musubi", origin) for origin in (FLUX, FLUX2)),
        *(("ai-toolkit", origin) for origin in (SDXL, FLUX, FLUX2)),
        *(("comfyui", origin) for origin in (SDXL, FLUX, ORIGIN)),
    ],
)
def test_what_was_exported_comes_back(tmp_path: Path, name: str, origin: LatentOrigin) -> None:
    made = small_cache(tmp_path / "cache", origin=origin, flips=True)
    export_cache(open_cache(tmp_path / "cache"), tmp_path / "files", name, ExportOptions())
    cache, result = imported(tmp_path / "files", tmp_path / "again", origin, std=2.0)
    assert cache.origin == origin and cache.description.posterior == "point"
    assert sorted(Path(item.name).stem.removeprefix("a_") for item in cache.items) == ["cat", "dog"]
    for i, item in enumerate(cache.items):
        row = 0 if "cat" in item.name else 1
        read = cache.read(i)
        assert torch.allclose(read.mean, made.mean[row], atol=1e-4) and read.log_variance is None
        if result.flips:
            assert made.flipped is not None and read.flipped is not None
            assert torch.allclose(read.flipped[0], made.flipped.mean[row], atol=1e-4)
    assert result.flips == (name in ("kohya", "ai-toolkit"))
    assert audit_cache(tmp_path / "again").clean


def test_keys_labels_and_captions_are_those_of_the_images_beside(tmp_path: Path) -> None:
    folder = tmp_path / "data/10_cats"
    kohya_file(folder, "one")
    Image.new("RGB", (640, 480), "red").save(folder / "one.png")
    (folder / "one.txt").write_text("a red cat\n")
    kohya_file(tmp_path / "data", "alone", values=latents(3))
    cache, result = imported(tmp_path / "data", tmp_path / "out")
    alone, one = cache.items
    assert one.key == hashlib.sha256((folder / "one.png").read_bytes()).hexdigest()
    assert (one.name, one.label, one.caption, one.size, one.bucket) == (
        *("10_cats/one.png", "10_cats", "a red cat"),
        (480, 640),
        (96, 128),
    )
    assert (alone.name, alone.label, alone.caption) == ("alone", None, None) and result.by_image == 1


def test_captions_of_musubi_are_in_its_text_cache(tmp_path: Path) -> None:
    musubi_file(tmp_path / "in", values=latents(1, 16, 2.8))
    texts = {"architecture": "z_image", "caption1": "a cat", "format_version": "1.0.1"}
    save_file({"varlen_llm_embed_float32": torch.zeros(2, 3)}, tmp_path / "in/cat_zi_te.safetensors", metadata=texts)
    cache, _ = imported(tmp_path / "in", tmp_path / "out", FLUX)
    assert cache.items[0].caption == "a cat"


def test_mirrored_files_of_ai_toolkit_are_joined(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        for flip in (False, True):
            ai_toolkit_file(tmp_path / "in", name, latents(ord(name[0]) + flip, std=1.0), flip=flip)
    cache, result = imported(tmp_path / "in", tmp_path / "out")
    assert len(cache) == 2 and result.flips
    flipped = cache.read(0).flipped
    assert flipped is not None
    assert torch.allclose(flipped[0], latents(ord("a") + 1, std=1.0) / 0.13025, atol=1e-4)


def test_the_largest_of_several_sizes_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    small = dict(np.load(kohya_file(folder, "cat", "flux", latents(1, 16, 1.0, (6, 8)), True)))
    kohya_file(folder, "cat", "flux", latents(2, 16, 1.0), True, **small)
    Image.new("RGB", (640, 480)).save(folder / "cat.png")
    cache, result = imported(folder, tmp_path / "out", FLUX)
    assert [item.bucket for item in cache.items] == [(96, 128)] and "1 smaller size" in result.notes[-1]


def test_unusable_files_are_put_into_quarantine(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    kohya_file(folder, "good")
    kohya_file(folder, "nan", values=latents().index_fill(1, torch.tensor([0]), float("nan")))
    kohya_file(folder, "zero", values=torch.zeros(4, 12, 16))
    kohya_file(folder, "cut").write_bytes(b"PK\3\4")
    cache, result = imported(folder, tmp_path / "out")
    assert [item.name for item in cache.items] == ["good"] and cache.missing == 0
    assert len(result.quarantine) == len(read_quarantine(tmp_path / "out")) == 3
    (folder / "good_0640x0480_sdxl.npz").unlink()
    with pytest.raises(BadLatent):
        imported(folder, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("write", "origin", "std"),
    [
        (lambda folder: kohya_file(folder, values=latents(1, 16)), SDXL, None),
        (lambda folder: kohya_file(folder, family="sd"), SDXL, None),
        (lambda folder: kohya_file(folder), FLUX, None),
        (lambda folder: musubi_file(folder), FLUX2, None),
        (lambda folder: kohya_file(folder), replace(SDXL, geometry=Geometry(3, 4, (4, 4))), None),
        (lambda folder: kohya_file(folder, values=latents(std=0.9)), SDXL, 7.0),
        (lambda folder: ai_toolkit_file(folder, values=latents(std=7.0)), SDXL, 7.0),
    ],
)
def test_latents_of_other_vaes_are_refused(
    tmp_path: Path, write: Callable[[Path], Path], origin: LatentOrigin, std: float | None
) -> None:
    write(tmp_path / "in")
    with pytest.raises((LatentMismatch, BadLatent)):
        imported(tmp_path / "in", tmp_path / "out", origin, std=std)
    assert not (tmp_path / "out").exists()


def test_files_that_state_another_vae_are_refused(tmp_path: Path) -> None:
    small_cache(tmp_path / "cache", origin=SDXL)
    export_cache(open_cache(tmp_path / "cache"), tmp_path / "files", "kohya", ExportOptions())
    with pytest.raises(LatentMismatch):
        imported(tmp_path / "files", tmp_path / "out", replace(SDXL, fingerprint="e" * 64))


def test_a_vae_without_normalization_cannot_read_normalized_latents(tmp_path: Path) -> None:
    ai_toolkit_file(tmp_path / "in")
    with pytest.raises(UnknownNormalization):
        imported(tmp_path / "in", tmp_path / "out", replace(SDXL, normalization=None))


def test_statistics_of_another_vae_are_noted(tmp_path: Path) -> None:
    comfyui_file(tmp_path / "in", values=latents(std=200.0))
    _, result = imported(tmp_path / "in", tmp_path / "out", SDXL, std=7.0)
    assert any("statistics" in note for note in result.notes)


def test_one_format_and_family_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    kohya_file(folder)
    comfyui_file(folder)
    kohya_file(folder, family="sd")
    with pytest.raises(LatentMismatch, match="several programs"):
        imported(folder, tmp_path / "out")
    with pytest.raises(LatentMismatch):
        imported(folder, tmp_path / "out", name="kohya")
    assert len(imported(folder, tmp_path / "out", name="kohya:sdxl")[0]) == 1
    with pytest.raises(CannotWrite):
        imported(folder, tmp_path / "out", name="comfyui")
    with pytest.raises(NotFound):
        imported(folder, tmp_path / "x", name="musubi")
    with pytest.raises(NotFound):
        imported(tmp_path / "none", tmp_path / "x")
    assert audited(folder).counts == {"mixed": 1}

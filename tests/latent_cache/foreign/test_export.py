"""Exported latents are where the loaders of other programs look, with the keys, shapes and values that they expect."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_cache import ORIGIN
from other_caches import (
    SIZE,
    ai_toolkit_facts,
    ai_toolkit_path,
    audited,
    kohya_file,
    latents,
    metadata_of,
    read_as_comfyui,
    read_as_kohya,
    read_as_musubi,
    read_as_streaming,
    small_cache,
)
from safetensors.torch import load_file

from vaekit.checkpoints.latent_files import LatentOrigin
from vaekit.errors import BadLatent, CannotWrite, LatentMismatch, UnknownNormalization
from vaekit.geometry import Geometry
from vaekit.latent_cache.foreign.convert import choose, to_raw, to_stored
from vaekit.latent_cache.foreign.export import Export, ExportOptions, export_cache
from vaekit.latent_cache.foreign.kohya import KOHYA
from vaekit.latent_cache.foreign.mark import KEY, mark_from
from vaekit.latent_cache.foreign.musubi import MUSUBI
from vaekit.latent_cache.open import open_cache
from vaekit.normalization import LatentNormalization
from vaekit.vae import normalize

SD1 = replace(ORIGIN, normalization=LatentNormalization((0.0,), (0.18215,)))
SDXL = replace(ORIGIN, normalization=LatentNormalization((0.0,), (0.13025,)))
FLUX = LatentOrigin("f" * 64, "kl", Geometry(3, 16, (8, 8)), LatentNormalization((0.1159,), (0.3611,)))
PATCHED = LatentNormalization(tuple(i / 64 for i in range(128)), tuple(1 + i / 64 for i in range(128)), 2)
FLUX2 = LatentOrigin("2" * 64, "kl", Geometry(3, 32, (8, 8)), PATCHED)
VIDEO = LatentOrigin("3" * 64, "wan", Geometry(3, 16, (4, 8, 8), causal=True), LatentNormalization((0.5,), (0.5,)))
ROWS = LatentOrigin("4" * 64, "rows", Geometry(12, 4), LatentNormalization())


def export(folder: Path, name: str, origin: LatentOrigin = SDXL, **options: object) -> tuple[torch.Tensor, Export]:
    made = small_cache(folder / "cache", origin=origin, **options)  # type: ignore[arg-type]
    return made.mean, export_cache(open_cache(folder / "cache"), folder / "out", name, ExportOptions())


@pytest.mark.parametrize(("name", "origin", "family"), [("kohya", SDXL, "sdxl"), ("kohya", SD1, "sd")])
def test_kohya_raw(tmp_path: Path, name: str, origin: LatentOrigin, family: str) -> None:
    mean, result = export(tmp_path, name, origin)
    values, size, crop, flipped = read_as_kohya(tmp_path / "out/a/cat.png", SIZE, family)
    assert values.dtype == np.float32 and np.array_equal(values, mean[0].numpy()) and flipped is None
    assert size.tolist() == [640, 480] and crop.shape == (4,)
    assert (result.written, result.variant.name, result.variant.stored, result.failures) == (2, family, "raw", [])


@pytest.mark.parametrize(("name", "family"), [("kohya", "flux"), ("kohya:lumina", "lumina")])
def test_kohya_normalized_with_sizes_in_keys(tmp_path: Path, name: str, family: str) -> None:
    mean, _ = export(tmp_path, name, FLUX)
    values, *_ = read_as_kohya(tmp_path / "out/a/dog.png", SIZE, family, (12, 16))
    assert np.allclose(values, (mean[1].numpy() - 0.1159) * 0.3611, atol=1e-6)


def test_kohya_keeps_other_sizes_of_the_same_vae(tmp_path: Path) -> None:
    small_cache(tmp_path / "small", origin=FLUX, size=(6, 8))
    out = tmp_path / "out"
    kohya_file(out / "a", "dog", "flux", latents(5, 16), True, alpha_mask_12x16=np.ones((96, 128)))
    export_cache(open_cache(tmp_path / "small"), out, "kohya", ExportOptions())
    for size in ((6, 8), (12, 16)):
        assert read_as_kohya(out / "a/dog.png", SIZE, "flux", size)[0].shape == (16, *size)
    assert "alpha_mask_12x16" in np.load(out / "a/dog_0640x0480_flux.npz")
    other = replace(FLUX, fingerprint="e" * 64)
    small_cache(tmp_path / "other", origin=other, size=(4, 4))
    export_cache(open_cache(tmp_path / "other"), out, "kohya", ExportOptions())
    assert [name for name in np.load(out / "a/dog_0640x0480_flux.npz") if name.startswith("latents")] == ["latents_4x4"]


def test_musubi(tmp_path: Path) -> None:
    mean, result = export(tmp_path, "musubi", FLUX)
    found = read_as_musubi(tmp_path / "out", "zi")
    size, tensors = found["cat"]
    assert size == (640, 480) and torch.equal(tensors["latents"], mean[0]) and len(found) == 2
    assert result.variant.stored == "raw"
    facts = metadata_of(tmp_path / "out/cat_0640x0480_zi.safetensors")
    assert (facts["architecture"], facts["width"], facts["height"]) == ("z_image", "640", "480")


def test_musubi_with_frames(tmp_path: Path) -> None:
    mean, _ = export(tmp_path, "musubi:wan", replace(VIDEO, family="kl", geometry=Geometry(3, 16, (8, 8))))
    stored = load_file(tmp_path / "out/cat_0640x0480_wan.safetensors")
    assert list(stored) == ["latents_1x12x16_float32"]
    assert torch.allclose(stored["latents_1x12x16_float32"], ((mean[0] - 0.5) * 0.5)[:, None])


def test_flux2_is_rearranged(tmp_path: Path) -> None:
    mean, _ = export(tmp_path, "musubi:f2d", FLUX2)
    stored = load_file(tmp_path / "out/cat_0640x0480_f2d.safetensors")["latents_6x8_float32"]
    assert torch.allclose(stored, normalize(mean[:1], PATCHED)[0], atol=1e-5)


def test_ai_toolkit(tmp_path: Path) -> None:
    made = small_cache(tmp_path / "cache", origin=SDXL, flips=True)
    result = export_cache(open_cache(tmp_path / "cache"), tmp_path / "out", "ai-toolkit", ExportOptions())
    assert result.flips and made.flipped is not None
    image = tmp_path / "out/a/cat.png"
    for flip, values in ((False, made.mean), (True, made.flipped.mean)):
        stored = load_file(ai_toolkit_path(image, ai_toolkit_facts("cat.png", "sdxl", flip)))["latent"]
        assert torch.allclose(stored, values[0] * 0.13025)


def test_comfyui(tmp_path: Path) -> None:
    mean, _ = export(tmp_path, "comfyui")
    assert torch.equal(read_as_comfyui(tmp_path / "out/a_cat.latent"), mean[:1])


def test_mds(tmp_path: Path) -> None:
    mean, result = export(tmp_path, "mds")
    sample, other = read_as_streaming(tmp_path / "out/128x96")
    stored = np.frombuffer(sample["latents_128x96"], np.float16).reshape(4, 12, 16)
    assert np.allclose(stored, mean[0].numpy() * 0.13025, rtol=2e-3, atol=1e-4)
    assert (sample["name"], sample["caption"], sample["label"]) == ("a/cat.png", "A a/cat.png.", "pet")
    assert (sample["original_width"], sample["original_height"], other["name"]) == (640, 480, "a/dog.png")
    assert result.written == 2


def test_mds_has_shards_of_limited_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.latent_cache.foreign.mds.SIZE_LIMIT", 4000)
    names = tuple(f"{number}.png" for number in range(5))
    export(tmp_path, "mds", names=names)
    assert [each["name"] for each in read_as_streaming(tmp_path / "out/128x96")] == list(names)
    assert len(list((tmp_path / "out/128x96").glob("*.mds"))) == 3


@pytest.mark.parametrize("name", ["kohya", "musubi", "ai-toolkit", "comfyui"])
@pytest.mark.parametrize("std", [0.3, 40.0])
def test_exports_of_any_vae_pass_an_audit(tmp_path: Path, name: str, std: float) -> None:
    _, result = export(tmp_path, name, ORIGIN, std=std)
    assert audited(tmp_path / "out").findings == []
    assert result.written == 2 and (name == "comfyui") == (not result.notes)


@pytest.mark.parametrize("name", ["kohya", "musubi", "ai-toolkit", "comfyui"])
def test_exports_state_their_vae(tmp_path: Path, name: str) -> None:
    _, result = export(tmp_path, name, FLUX)
    for path in result.files:
        text = np.load(path)[KEY].tobytes().decode() if name == "kohya" else metadata_of(path)[KEY]
        mark = mark_from(text)
        assert mark is not None and mark.fingerprint == FLUX.fingerprint
        expected = 2 if result.variant.stored == "raw" else 2 * 0.3611
        assert mark.std[0] == pytest.approx(expected, rel=0.2)


def test_samples_depend_on_seed_and_item_only(tmp_path: Path) -> None:
    small_cache(tmp_path / "cache", origin=SDXL)
    cache = open_cache(tmp_path / "cache")
    outs = [tmp_path / name for name in "abc"]
    for out, seed in zip(outs, (1, 1, 2), strict=True):
        export_cache(cache, out, "comfyui", ExportOptions(True, seed))
    first, again, other = (read_as_comfyui(out / "a_cat.latent") for out in outs)
    mean, log_variance = cache.moments([0])
    assert log_variance is not None
    assert torch.equal(first, again) and not torch.equal(first, other) and not torch.equal(first, mean)
    assert ((first - mean) / (0.5 * log_variance).exp()).std() == pytest.approx(1, abs=0.1)


def test_exports_are_the_same_each_time(tmp_path: Path) -> None:
    small_cache(tmp_path / "cache", origin=SDXL)
    for name in ("kohya", "ai-toolkit", "comfyui", "mds"):
        contents = []
        for out in (tmp_path / f"{name}1", tmp_path / f"{name}2"):
            export_cache(open_cache(tmp_path / "cache"), out, name, ExportOptions())
            contents.append({path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()})
        assert contents[0] == contents[1] and contents[0]


def test_what_a_program_cannot_tell_apart_is_left_out_and_named(tmp_path: Path) -> None:
    names = ("a/cat.png", "b/cat.png", "../evil.png", "a/cat.jpg")
    _, musubi = export(tmp_path / "m", "musubi", FLUX, names=names)
    assert musubi.written == 2 and [name for name, _ in musubi.failures] == [
        "b/cat.png",
        "a/cat.jpg",
    ]  # and evil.png inside
    _, kohya = export(tmp_path / "k", "kohya", names=names)
    assert kohya.written == 2 and [name for name, _ in kohya.failures] == ["../evil.png", "a/cat.jpg"]
    assert not (tmp_path / "evil_0640x0480_sdxl.npz").exists()


def test_vaes_of_other_latent_spaces_are_refused(tmp_path: Path) -> None:
    small_cache(tmp_path / "cache", origin=SDXL)
    cache = open_cache(tmp_path / "cache")
    for name in ("kohya:sd", "kohya:flux", "ai-toolkit:sd1"):
        with pytest.raises(LatentMismatch):
            export_cache(cache, tmp_path / "out", name, ExportOptions())
    with pytest.raises(CannotWrite):
        export_cache(cache, tmp_path / "cache/sub", "kohya", ExportOptions())
    small_cache(tmp_path / "own", origin=ORIGIN)  # of no known latent space, like SD's in shape
    export_cache(open_cache(tmp_path / "own"), tmp_path / "own files", "kohya:sdxl", ExportOptions())
    with pytest.raises(LatentMismatch):
        export_cache(open_cache(tmp_path / "own"), tmp_path / "out", "kohya:flux", ExportOptions())
    unknown = replace(ORIGIN, normalization=None)
    small_cache(tmp_path / "unknown", origin=unknown)
    with pytest.raises(UnknownNormalization):
        export_cache(open_cache(tmp_path / "unknown"), tmp_path / "out", "ai-toolkit", ExportOptions())
    raw = export_cache(open_cache(tmp_path / "unknown"), tmp_path / "shards", "mds", ExportOptions())
    assert raw.variant.stored == "raw"
    assert not (tmp_path / "out").exists()


def test_items_that_are_no_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadLatent):
        choose(KOHYA, None, ROWS)


def test_vaes_of_videos_hold_images_as_one_frame() -> None:
    wan = next(each for each in MUSUBI.variants if each.name == "wan")
    raw = latents(1, 16)[:, None]
    stored = to_stored(raw, wan, VIDEO.normalization)
    assert stored.shape == (16, 1, 12, 16) and torch.allclose(stored, (raw - 0.5) * 0.5)
    assert torch.allclose(to_raw(stored, wan, VIDEO), raw, atol=1e-5)
    flux = KOHYA.variants[2]
    assert to_stored(raw, flux, VIDEO.normalization).shape == (16, 12, 16)
    with pytest.raises(BadLatent):
        to_stored(raw.expand(-1, 3, -1, -1), wan, VIDEO.normalization)
    with pytest.raises(BadLatent):
        to_stored(latents(1, 32, size=(11, 16)), MUSUBI.variants[4], PATCHED)


def test_decoders_that_share_latents_share_files() -> None:
    other = LatentOrigin("5" * 64, "asymmetric", Geometry(3, 4, (8, 8)), LatentNormalization((0.0,), (0.18215,)))
    assert choose(KOHYA, None, other).variant.name == "sd" and not choose(KOHYA, None, other).notes


def test_old_files_that_would_be_read_instead_are_named(tmp_path: Path) -> None:
    kohya_file(tmp_path / "out/a", "cat", "")
    _, result = export(tmp_path, "kohya")
    assert result.written == 1 and "cat.npz" in result.failures[0][1]

"""Files of other programs are read as those write them; broken and hostile ones have an error of ours."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from other_caches import (
    SIZE,
    ai_toolkit_facts,
    ai_toolkit_file,
    ai_toolkit_path,
    comfyui_file,
    kohya_file,
    latents,
    musubi_file,
)
from safetensors.torch import save_file

from vaekit.errors import BadLatent, BadPlan
from vaekit.latent_cache.foreign.ai_toolkit import AI_TOOLKIT, centered, file_name
from vaekit.latent_cache.foreign.comfyui import COMFYUI
from vaekit.latent_cache.foreign.find import FORMATS, claim, format_named
from vaekit.latent_cache.foreign.kohya import KOHYA, crop_conditioning
from vaekit.latent_cache.foreign.mark import OriginMark, mark_from
from vaekit.latent_cache.foreign.musubi import MUSUBI
from vaekit.latent_cache.foreign.names import inside, sized, without_ending
from vaekit.latent_cache.foreign.records import CacheFormat, Stored


@pytest.mark.parametrize(
    ("family", "channels", "sizes_in_keys", "stored"),
    [
        ("sd", 4, False, Stored.RAW),
        ("sdxl", 4, False, Stored.RAW),
        ("flux", 16, True, Stored.NORMALIZED),
        ("sd3", 16, True, Stored.RAW),
        ("lumina", 16, True, Stored.NORMALIZED),
        ("hi", 64, True, Stored.RAW),
        ("anima", 16, True, Stored.NORMALIZED),
    ],
)
def test_kohya(tmp_path: Path, family: str, channels: int, sizes_in_keys: bool, stored: Stored) -> None:
    values, flipped = latents(1, channels), latents(2, channels)
    path = kohya_file(tmp_path, "a_1x2", family, values, sizes_in_keys, flipped=flipped)
    assert claim(path) is KOHYA
    (read,) = KOHYA.read(path)
    assert (read.name, read.variant.name, read.variant.stored, read.size) == ("a_1x2", family, stored, SIZE)
    assert torch.equal(read.latents, values) and torch.equal(read.flipped, flipped) and not read.wrong_sizes
    assert len(read.latents) == read.variant.channels


def test_kohya_keeps_several_sizes_in_one_file_and_reads_old_names(tmp_path: Path) -> None:
    kohya_file(tmp_path, "cat", "flux", latents(1, 16), True)
    other = {f"{name}_6x8": array for name, array in np.load(kohya_file(tmp_path / "b", "x", "sd", latents())).items()}
    path = kohya_file(tmp_path, "cat", "flux", latents(1, 16), True, **other)
    first, second = KOHYA.read(path)
    assert {tuple(first.latents.shape), tuple(second.latents.shape)} == {(16, 12, 16), (4, 12, 16)}
    assert "12x16" not in str(first.wrong_sizes) and second.wrong_sizes  # the key states 6x8
    (old,) = KOHYA.read(kohya_file(tmp_path, "dog", ""))
    assert (old.name, old.variant.name, old.variant.stored) == ("dog", "old", Stored.RAW)


@pytest.mark.parametrize("name", ["cat_te.npz", "cat_te_outputs.npz", "cat_flux_te.npz", "cat.png", "cat.safetensors"])
def test_other_files_of_kohya_are_not_claimed(name: str) -> None:
    assert claim(Path(name)) is None


def test_musubi(tmp_path: Path) -> None:
    values = latents(1, 16).to(torch.bfloat16)
    path = musubi_file(tmp_path, "a_b", ("zi", "z_image"), values)
    assert claim(path) is MUSUBI
    (read,) = MUSUBI.read(path)
    assert (read.name, read.variant.stored, read.size, read.wrong_sizes) == ("a_b", Stored.RAW, SIZE, ())
    assert torch.equal(read.latents, values.float())
    (video,) = MUSUBI.read(musubi_file(tmp_path, "q", ("qi", "qwen_image"), latents(1, 16)[:, None]))
    assert video.variant.stored is Stored.NORMALIZED and video.latents.shape == (16, 1, 12, 16)
    flux = musubi_file(tmp_path, "f", ("f2d", "flux_2_dev"), latents(1, 128), name="latents_12x16_float32")
    assert MUSUBI.read(flux)[0].variant.channels == 128
    assert claim(Path("cat_zi_te.safetensors")) is None
    wrong = musubi_file(tmp_path, "w", ("zi", "z_image"), latents(1, 16), name="latents_1x12x18_float32")
    assert MUSUBI.read(wrong)[0].wrong_sizes
    renamed = musubi_file(tmp_path, "r", ("zi", "wan"), latents(1, 16))
    assert MUSUBI.read(renamed)[0].wrong_sizes
    with pytest.raises(BadLatent, match="ho1"):
        MUSUBI.read(musubi_file(tmp_path, "h", ("ho1", "hidream_o1_image"), latents(1, 16)))


def test_ai_toolkit(tmp_path: Path) -> None:
    values = latents(1, std=1.0)
    path = ai_toolkit_file(tmp_path, "cat.png", values)
    assert claim(path) is AI_TOOLKIT
    (read,) = AI_TOOLKIT.read(path)
    assert (read.name, read.variant.name, read.encoded, read.mirrored) == ("cat.png", "sdxl", (96, 128), False)
    assert torch.equal(read.latents, values) and not read.wrong_sizes
    (mirrored,) = AI_TOOLKIT.read(ai_toolkit_file(tmp_path, "cat.png", values, flip=True))
    assert mirrored.mirrored and not mirrored.wrong_sizes
    (unknown,) = AI_TOOLKIT.read(ai_toolkit_file(tmp_path, "cat.png", values, version="some_model"))
    assert unknown.variant.name == "some_model" and unknown.variant.channels == 0
    moved = path.rename(path.with_name(f"dog_{path.name.split('_')[1]}"))
    assert AI_TOOLKIT.read(moved)[0].wrong_sizes
    assert AI_TOOLKIT.read(ai_toolkit_file(tmp_path, "x.png", latents(1, size=(12, 17))))[0].wrong_sizes


def test_names_of_ai_toolkit_are_those_that_it_computes(tmp_path: Path) -> None:
    facts = ai_toolkit_facts("Café 1.png")
    assert file_name(facts) == ai_toolkit_path(tmp_path / "Café 1.png", facts).name
    made = centered((480, 640), (96, 128))
    assert all(facts[name] == value for name, value in vars(made).items())
    wide = centered((100, 301), (64, 96))
    assert (wide.scale_to_width, wide.scale_to_height, wide.crop_x, wide.crop_y) == (193, 64, 48, 0)


def test_comfyui(tmp_path: Path) -> None:
    values = latents(1)
    (read,) = COMFYUI.read(comfyui_file(tmp_path, "new", values))
    assert torch.equal(read.latents, values) and read.variant.stored is Stored.RAW
    (old,) = COMFYUI.read(comfyui_file(tmp_path, "old", values * 0.18215, old=True))
    assert torch.allclose(old.latents, values) and old.variant.stored is Stored.RAW
    (flux,) = COMFYUI.read(comfyui_file(tmp_path, "flux2", latents(1, 128)))
    assert flux.variant.stored is Stored.NORMALIZED
    save_file({"latent_tensor": torch.zeros(3, 4, 2, 2)}, tmp_path / "batch.latent")
    assert [each.name for each in COMFYUI.read(tmp_path / "batch.latent")] == ["batch-1", "batch-2", "batch-3"]


FILES: dict[str, Callable[[Path], Path]] = {
    "kohya": lambda folder: kohya_file(folder),
    "musubi": lambda folder: musubi_file(folder),
    "ai-toolkit": lambda folder: ai_toolkit_file(folder),
    "comfyui": lambda folder: comfyui_file(folder),
}


@pytest.mark.parametrize("name", list(FILES))
def test_broken_files_have_our_error(tmp_path: Path, name: str) -> None:
    path = FILES[name](tmp_path)
    whole, found = path.read_bytes(), claim(path)
    assert found is not None and found.name == name
    pickled = pickle.dumps({"latents": [1, 2]})
    broken = [whole[:length] for length in (0, 3, 9, 40, len(whole) // 2, len(whole) - 1)]
    for content in (*broken, pickled, b"PK\3\4" + pickled, b"x" * 100, whole[:200] + b"\xff" * 40 + whole[240:]):
        path.write_bytes(content)
        read_or_refused(found, path)
    for content in (*broken, pickled):
        path.write_bytes(content)
        with pytest.raises(BadLatent):
            found.read(path)


def read_or_refused(found: CacheFormat, path: Path) -> None:
    try:
        found.read(path)
    except BadLatent as error:
        assert str(path) in str(error)


def test_no_pickle_is_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> object:
            return Path.touch, (ran,)

    path = kohya_file(tmp_path)
    np.savez(path, latents=np.array([Bomb()], dtype=object))
    torch.save({"latent_tensor": Bomb()}, tmp_path / "a.latent")
    for hostile in (path, tmp_path / "a.latent"):
        with pytest.raises(BadLatent, match="pickle"):
            claim(hostile).read(hostile)  # type: ignore[union-attr]
    assert not ran.exists()


@pytest.mark.parametrize("values", [np.zeros((4, 4)), np.zeros((4, 4, 4), int), np.zeros((0, 4, 4)), np.array("text")])
def test_arrays_that_are_no_latents(tmp_path: Path, values: np.ndarray) -> None:  # type: ignore[type-arg]
    path = kohya_file(tmp_path)
    np.savez(path, latents=values, original_size=np.array([640, 480]), crop_ltrb=np.zeros(4))
    with pytest.raises(BadLatent):
        KOHYA.read(path)


@pytest.mark.parametrize("missing", ["latents", "original_size", "crop_ltrb"])
def test_what_the_loader_of_kohya_requires(tmp_path: Path, missing: str) -> None:
    path = kohya_file(tmp_path)
    arrays = dict(np.load(path))
    del arrays[missing]
    np.savez(path, **arrays)
    with pytest.raises(BadLatent, match=missing):
        KOHYA.read(path)


def test_crops_of_kohya_are_those_that_it_computes() -> None:
    # an image of 1000x800 fits into a bucket of 1024x1024 as 1024x819.2
    assert crop_conditioning((1024, 1024), (800, 1000)) == pytest.approx((0, 102, 1024, 102 + 819.2))
    assert crop_conditioning((96, 128), (480, 640)) == (0, 0, 128, 96)


def test_formats_are_named() -> None:
    assert [format_named(each.name)[0] for each in FORMATS] == list(FORMATS)
    assert format_named("kohya:lumina")[1].name == "lumina"  # type: ignore[union-attr]
    for wrong in ("kohja", "kohya:sd9", "kohya:old", "musubi:fk", ""):
        with pytest.raises(BadPlan):
            format_named(wrong)
    assert format_named("kohya:old", reading=True)[1].name == "old"  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "C:\\x", "a\0b", "..", ""])
def test_names_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadLatent):
        inside(tmp_path, name)


def test_names() -> None:
    assert without_ending("a/b.c.PNG") == "a/b.c" and without_ending("a/b.v2") == "a/b.v2"
    assert sized("x_0640x0480") == ("x", (480, 640)) and sized("x_640") == ("x_640", None)


def test_marks_survive_and_other_texts_are_none() -> None:
    mark = OriginMark("b" * 64, (0.0, 1.5), (1.0, 2.0))
    assert mark_from(mark.as_text()) == mark
    for text in ("", "{}", "[]", "null", '{"fingerprint": "x"}', mark.as_text().replace("2.0", "NaN"), "[" * 10**5):
        assert mark_from(text) is None

"""`vaekit reconstruct`, the main job."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Run = Callable[..., Any]


def test_it_writes_the_result_in_the_size_of_the_original(
    run: Run, vae_file: Path, photo: Path, tmp_path: Path
) -> None:
    said = run("reconstruct", photo, "--vae", vae_file, "--out", tmp_path / "out")
    assert said.code == 0
    with Image.open(tmp_path / "out" / "flower.png") as image:
        assert image.size == (63, 53)
    assert "4x14x16" in said.out
    assert "12x" in said.out


def test_json_is_one_object_with_every_number(run: Run, vae_file: Path, photo: Path, tmp_path: Path) -> None:
    said = run("reconstruct", photo, "--vae", vae_file, "--out", tmp_path, "--json", "--side-by-side")
    (image,) = said.json["images"]
    assert image["latent_shape"] == [4, 14, 16]
    assert image["compression"] == 12.0
    assert len(image["color_shift"]) == 3
    assert 0 < image["psnr"] < 60
    assert -1 <= image["ssim"] <= 1
    assert image["seconds"] > 0
    assert Path(image["side_by_side"]).is_file()
    assert said.json["failures"] == []


def test_the_reported_psnr_is_that_of_the_written_file(run: Run, vae_file: Path, photo: Path, tmp_path: Path) -> None:
    said = run("reconstruct", photo, "--vae", vae_file, "--out", tmp_path, "--json")
    x, y = (np.asarray(Image.open(path), dtype=np.float64) for path in (photo, tmp_path / "flower.png"))
    expected = 10 * np.log10(255**2 / ((x - y) ** 2).mean())
    assert said.json["images"][0]["psnr"] == pytest.approx(expected, abs=1e-3)


def test_a_folder_with_a_broken_image_is_done_but_for_that_one(
    run: Run, vae_file: Path, photo: Path, tmp_path: Path
) -> None:
    shutil.copy(photo, tmp_path / "good.png")
    (tmp_path / "broken.png").write_bytes(photo.read_bytes()[:200])
    said = run("reconstruct", tmp_path, "--vae", vae_file, "--out", tmp_path / "out", "--json")
    assert said.code == 1
    assert [Path(image["image"]).name for image in said.json["images"]] == ["good.png"]
    assert "broken.png" in said.json["failures"][0]["path"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good.png"]


def test_images_of_one_name_do_not_overwrite_each_other(run: Run, vae_file: Path, photo: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(photo, tmp_path / folder / "same.png")
    said = run("reconstruct", tmp_path / "a", tmp_path / "b", "--vae", vae_file, "--out", tmp_path / "out", "--json")
    outputs = {image["output"] for image in said.json["images"]}
    assert len(outputs) == 2
    assert all(Path(output).is_file() for output in outputs)


def test_an_input_is_never_overwritten(run: Run, vae_file: Path, photo: Path, tmp_path: Path) -> None:
    shutil.copy(photo, tmp_path / "flower.png")
    said = run("reconstruct", tmp_path / "flower.png", "--vae", vae_file, "--out", tmp_path)
    assert said.code == 1
    assert (tmp_path / "flower.png").read_bytes() == photo.read_bytes()


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_half_precision_runs(run: Run, vae_file: Path, photo: Path, tmp_path: Path, dtype: str) -> None:
    assert run("reconstruct", photo, "--vae", vae_file, "--out", tmp_path, "--dtype", dtype).code == 0


def test_transparency_comes_back(run: Run, vae_file: Path, photo: Path, tmp_path: Path) -> None:
    with Image.open(photo) as image:
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        image.save(tmp_path / "see-through.png")
    run("reconstruct", tmp_path / "see-through.png", "--vae", vae_file, "--out", tmp_path / "out")
    with Image.open(tmp_path / "see-through.png") as before, Image.open(tmp_path / "out" / "see-through.png") as after:
        assert after.getchannel("A").tobytes() == before.getchannel("A").tobytes()


def test_a_file_name_is_printed_as_it_is(run: Run, vae_file: Path, photo: Path, tmp_path: Path) -> None:
    shutil.copy(photo, tmp_path / "[red]x[-].png")
    said = run("reconstruct", tmp_path / "[red]x[-].png", "--vae", vae_file, "--out", tmp_path / "out")
    assert "[red]x[-].png" in said.out


def test_the_padding_can_be_asked_for(run: Run, vae_file: Path, photo: Path, tmp_path: Path) -> None:
    results = []
    for padding in ("zeros", "reflect"):
        said = run("reconstruct", photo, "--vae", vae_file, "--out", tmp_path / padding, "--padding", padding)
        assert said.code == 0
        with Image.open(tmp_path / padding / "flower.png") as image:
            results.append(np.asarray(image).copy())
    assert not np.array_equal(*results)
    assert run("reconstruct", photo, "--vae", vae_file, "--out", tmp_path / "out", "--padding", "circular").code == 1


def test_a_padding_is_kept_by_convert(run: Run, vae_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "reflecting.safetensors"
    said = run("convert", vae_file, target, "--layout", "ldm", "--padding", "reflect")
    assert said.code == 0
    assert run("inspect", target, "--json").json["config"]["padding"] == "reflect"
    said = run("convert", target, tmp_path / "folder", "--layout", "diffusers", "--json")
    assert (said.code, said.json["error"]["kind"]) == (1, "WrongTensors")
    assert "--padding zeros" in said.err

"""`vaekit compare`: from images to a page and its numbers."""

import json
import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from family_examples import EXAMPLES
from PIL import Image, ImageEnhance

from vaekit.checkpoints.save import save
from vaekit.families import assemble, family_of

Run = Callable[..., Any]
NAMES = ("a.png", "b.png", "c.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pieces of real photographs, and a broken file."""
    path = tmp_path_factory.mktemp("images")
    photos = files("sklearn.datasets.images")
    for name, photo, corner in zip(
        NAMES, ("flower.jpg", "china.jpg", "china.jpg"), ((200, 100), (100, 50), (300, 200)), strict=True
    ):
        with Image.open(str(photos / photo)) as image:
            image.crop((*corner, corner[0] + 128, corner[1] + 96)).save(path / name)
    (path / "torn.png").write_bytes((path / "a.png").read_bytes()[:300])
    return path


@pytest.fixture(scope="module")
def paler(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same images as JPEG files with a third of their color."""
    path = tmp_path_factory.mktemp("paler")
    for name in NAMES:
        with Image.open(folder / name) as image:
            ImageEnhance.Color(image).enhance(0.33).save(path / f"{Path(name).stem}.jpg", quality=97, subsampling=0)
    return path


def numbers(page: Path) -> dict[str, Any]:
    return json.loads(page.with_suffix(".json").read_text("utf-8"))


def test_two_vaes_make_a_page_and_numbers(run: Run, vae_file: Path, folder: Path, tmp_path: Path) -> None:
    other = shutil.copy(vae_file, tmp_path / "other.safetensors")
    page = tmp_path / "report.html"
    said = run("compare", folder, "--vae", vae_file, "--vae", other, "--out", page)
    assert said.code == 0
    assert "small.safetensors" in said.out and "PSNR" in said.out
    assert "torn.png" in said.err
    assert page.read_text("utf-8").startswith("<!doctype html>")
    told = numbers(page)
    assert [one["name"] for one in told["candidates"]] == ["small.safetensors", "other.safetensors"]
    assert [one["rank"] for one in told["candidates"]] == [1, 2]
    first = told["candidates"][0]
    assert {
        "psnr",
        "ms_ssim",
        "delta_e",
        "grid_flat",
        "latent_noise",
        "drift_psnr",
        "decode_seconds",
        "peak_memory",
    } <= set(first["measures"])
    assert first["measures"]["psnr"]["low"] <= first["measures"]["psnr"]["value"] <= first["measures"]["psnr"]["high"]
    assert [one["name"] for one in first["images"]] == list(NAMES)
    assert {one["name"] for one in told["measures"]} == {name for one in told["candidates"] for name in one["measures"]}
    assert told["skipped"][0]["name"] == "torn.png"
    assert told["protocol"]["images"] == 3
    (psnr,) = [one for one in told["comparisons"] if one["measure"] == "psnr"]
    assert (psnr["difference"], psnr["p"]) == (0.0, 1.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.safetensors", "report.html", "report.json"]


@pytest.mark.usefixtures("no_card_measures")
def test_without_images_the_cards_are_used(
    run: Run, vae_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaekit.comparison.image_sources.CARD_SIZE", (96, 128))
    said = run("compare", "--vae", vae_file, "--show", "1", "--out", tmp_path / "cards.html", "--json")
    assert said.code == 0
    told = numbers(tmp_path / "cards.html")
    assert {"text", "zone plate", "color checker"} <= {one["name"] for one in told["candidates"][0]["images"]}
    assert said.json["candidates"][0]["measures"]["psnr"] > 0
    assert len(told["shown"]) == 1


def test_a_vae_of_one_image_size_is_compared_on_images_and_on_cards_of_that_size(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    family = family_of("burgess")
    save(assemble(family, EXAMPLES["burgess"]).eval(), tmp_path / "classic.safetensors")
    side, _ = EXAMPLES["burgess"].geometry.size
    assert side is not None
    with Image.open(folder / "a.png") as image:
        image.crop((0, 0, side, side)).save(tmp_path / "small.png")
    for images in ((tmp_path / "small.png",), ()):
        page = tmp_path / "report.html"
        said = run("compare", *images, "--vae", tmp_path / "classic.safetensors", "--show", "1", "--out", page)
        assert said.code == 0, said.err
        told = numbers(page)
        assert told["protocol"]["skipped"] == 0
        assert "psnr" in told["candidates"][0]["measures"] and "drift_psnr" not in told["candidates"][0]["measures"]


def test_what_another_tool_made_is_judged(run: Run, folder: Path, paler: Path, tmp_path: Path) -> None:
    page = tmp_path / "tools.html"
    said = run(
        *("compare", "--originals", folder, "--reconstructions", paler, "--reconstructions", folder, "--out", page)
    )
    assert said.code == 0
    told = numbers(page)
    best, worst = told["candidates"]
    assert best["name"] == folder.name and best["defects"] == []
    assert best["measures"]["psnr"]["value"] == 100.0
    assert worst["name"] == paler.name
    assert "desaturated" in [one["name"] for one in worst["defects"]]
    assert {"size", "unit", "evidence"} <= set(worst["defects"][0])
    assert "encode_seconds" not in worst["measures"]


def test_a_reconstruction_that_is_missing_leaves_its_image_out(
    run: Run, folder: Path, paler: Path, tmp_path: Path
) -> None:
    some = tmp_path / "some"
    some.mkdir()
    shutil.copy(paler / "a.jpg", some)
    with Image.open(paler / "b.jpg") as image:
        image.resize((64, 48)).save(some / "b.png")
    said = run("compare", "--originals", folder, "--reconstructions", some, "--out", tmp_path / "r.html")
    assert said.code == 0
    skipped = {one["name"]: one["reason"] for one in numbers(tmp_path / "r.html")["skipped"]}
    assert "64x48" in skipped["b.png"]
    assert "c.png" in skipped


@pytest.mark.usefixtures("no_card_measures")
def test_one_encoder_and_several_decoders(run: Run, vae_file: Path, folder: Path, tmp_path: Path) -> None:
    other = shutil.copy(vae_file, tmp_path / "other.safetensors")
    page = tmp_path / "report.html"
    said = run(
        *("compare", folder / "a.png", "--vae", vae_file, "--decode-with", vae_file, "--decode-with", other),
        *("--out", page),
    )
    assert said.code == 0
    told = numbers(page)
    assert [one["name"] for one in told["candidates"]] == ["small.safetensors", "other.safetensors"]
    assert told["candidates"][0]["measures"]["psnr"] == told["candidates"][1]["measures"]["psnr"]


@pytest.mark.usefixtures("no_card_measures")
def test_a_normalization_that_is_not_known_is_told(
    run: Run, vae_file: Path, unnormalized_file: Path, folder: Path, tmp_path: Path
) -> None:
    decoders = ("--decode-with", unnormalized_file, "--decode-with", vae_file)
    said = run("compare", folder / "a.png", "--vae", vae_file, *decoders, "--out", tmp_path / "r.html")
    assert said.code == 0
    notes = [line for line in said.err.splitlines() if line.startswith("vaekit: ")]
    assert any("no_normalization.safetensors" in note for note in notes)
    assert not any("small.safetensors" in note for note in notes)


def test_a_decoder_of_another_space_is_refused(run: Run, vae_file: Path, folder: Path, tmp_path: Path) -> None:
    said = run(
        *("compare", folder / "a.png", "--vae", vae_file, "--decode-with", "builtin", "--out", tmp_path / "r.html"),
        "--json",
    )
    assert (said.code, said.json["error"]["kind"]) == (1, "LatentMismatch")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "code", "fact"),
    [
        (("--originals", "."), 2, "--originals"),
        (("--reconstructions", "."), 2, "--reconstructions"),
        (("x.png", "--originals", ".", "--reconstructions", "."), 2, "--originals"),
        (("--vae", "a", "--vae", "b", "--decode-with", "c"), 2, "--vae"),
        (("nothing.png",), 1, "nothing.png"),
        (("--out", "report.pdf"), 1, "report.pdf"),
        (("--limit", "0"), 2, "--limit"),
    ],
)
def test_bad_use_is_told(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, fact: str
) -> None:
    monkeypatch.chdir(tmp_path)
    said = run("compare", *arguments)
    assert said.code == code
    assert fact in " ".join(said.err.replace("│", " ").split())
    assert not list(tmp_path.iterdir())


def test_only_broken_images_are_an_error(run: Run, vae_file: Path, folder: Path, tmp_path: Path) -> None:
    said = run("compare", folder / "torn.png", "--vae", vae_file, "--out", tmp_path / "r.html", "--json")
    assert (said.code, said.json["error"]["kind"]) == (1, "NothingEvaluated")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("no_card_measures")
def test_a_sample_is_the_same_for_everybody(run: Run, vae_file: Path, folder: Path, tmp_path: Path) -> None:
    names = []
    for number in (1, 2):
        page = tmp_path / f"{number}.html"
        run(
            "compare",
            "--images",
            folder,
            "--vae",
            vae_file,
            "--limit",
            "2",
            "--seed",
            "3",
            "--show",
            "0",
            "--out",
            page,
        )
        names.append([one["name"] for one in numbers(page)["candidates"][0]["images"]])
    assert names[0] == names[1]
    assert len(names[0]) + len(numbers(page)["skipped"]) == 2


@pytest.mark.usefixtures("no_card_measures")
def test_taesd3_is_ranked_before_taesd_with_the_reasons(run: Run, shared_data: Path, tmp_path: Path) -> None:
    for path in sorted((shared_data / "images" / "photos").glob("*.png"))[:3]:
        with Image.open(path) as image:
            left, top = (side // 2 - 80 for side in image.size)
            image.convert("RGB").crop((left, top, left + 160, top + 160)).save(tmp_path / f"{path.stem}.png")
    vaes = [word for name in ("taesd", "taesd3") for word in ("--vae", shared_data / "vae" / name)]
    distances = ("--lpips", shared_data / "perceptual")
    said = run("compare", tmp_path, *vaes, *distances, "--show", "1", "--out", tmp_path / "report.html", "--json")
    assert said.code == 0
    first, second = said.json["candidates"]
    assert (first["name"], second["name"]) == ("taesd3", "taesd")
    for name in ("PSNR", "LPIPS (alex)", "dE2000"):
        assert name in first["reason"]
    assert "taesd" in first["reason"]
    assert first["verdict"] and second["verdict"]


@pytest.mark.nightly
@pytest.mark.usefixtures("no_card_measures")
def test_latent_spaces_stand_beside_reconstructions(
    run: Run, vae_file: Path, folder: Path, paler: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaekit.comparison.latent_space.SIZE", 32)
    page = tmp_path / "report.html"
    said = run("compare", folder, "--vae", vae_file, "--latent", "--out", page, "--show", 0)
    assert said.code == 0
    assert said.out.index("PSNR") < said.out.index("Latent space") < said.out.index("PPL")
    told = numbers(page)
    (candidate,) = told["candidates"]
    assert {"psnr", "ifd_alex", "ppl", "aggregate_kl", "equivariance_decoder_half"} <= candidate["measures"].keys()
    assert len(candidate["spectrum"]["latents"]) == len(candidate["spectrum"]["frequency"])
    groups = {measure["name"]: measure["group"] for measure in told["measures"]}
    assert groups["ppl"] == "latent space" and groups["psnr"] == "fidelity"
    assert told["protocol"]["latent_space"]["networks"]["ppl"]["weights"]
    html = page.read_text("utf-8")
    assert 'class="spectrum"' in html and "iFD (AlexNet)" in html
    plain = run("compare", "--originals", folder, "--reconstructions", paler, "--latent", "--out", page, "--show", 0)
    assert plain.code == 0 and "Latent space" not in plain.out

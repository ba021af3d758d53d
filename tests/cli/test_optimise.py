"""`vaekit optimise`: tables, JSON, exit statuses and errors."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from planted_rows import save_planted
from small_text import save_text_vae

Run = Callable[..., Any]


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_planted(tmp_path_factory.mktemp("planted") / "rows.safetensors")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write(tmp_path / "rows.csv", 3)


def write(path: Path, count: int) -> Path:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([["height", "width", "ripe"], *([10 + i, 0, "no"] for i in range(count))])
    return path


def test_rows_as_json(run: Run, planted: Path, table: Path, tmp_path: Path) -> None:
    options = ("--within", 1, "--density", 0, "--steps", 40, "--out", tmp_path / "out")
    said = run("optimise", table, "--vae", planted, "--property", "height", *options, "--json")
    found = said.json
    assert said.code == 0 and found["method"] == "gradient" and found["failures"] == []
    (file,) = found["files"]
    assert [item["after"] for item in file["items"]] == pytest.approx([12, 13, 14], abs=1e-3)
    assert file["items"][0]["active"] == ["distance"] and file["output"] == str(tmp_path / "out" / "rows.csv")
    assert Path(found["record"]).is_file()


def test_rows_as_a_table_of_the_first_ones_and_their_mean(run: Run, planted: Path, tmp_path: Path) -> None:
    table = write(tmp_path / "many.csv", 25)
    options = ("--steps", 2, "--out", tmp_path / "out", "--property", "-column:width")
    said = run("optimise", table, "--vae", planted, *options)
    lines = said.out.splitlines()
    assert said.code == 0 and "as low as possible" in lines[0] and "25" in lines[0]
    assert len(lines) == 2 + 20 + 1 and lines[2].startswith("many.csv:2 ") and lines[-1].startswith("mean ")
    with open(tmp_path / "out" / "many.csv", newline="") as file:
        assert len(list(csv.reader(file))) == 26


def test_an_image(run: Run, vae_file: Path, photo: Path, tmp_path: Path) -> None:
    options = ("--steps", 4, "--out", tmp_path / "out", "--path", 1, "--side-by-side")
    said = run("optimise", photo, "--vae", vae_file, "--property", "contrast", "--minimise", *options, "--json")
    (file,) = said.json["images"]
    assert file["items"][0]["after"] < file["items"][0]["reconstruction"]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        "flower.png",
        "flower.side-by-side.png",
        "flower.path.png",
        "flower.path.webp",
        "optimised.json",
    }


def test_one_bad_file_among_others(run: Run, planted: Path, table: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.csv").write_text("a,b\n1,2\n")
    options = ("--steps", 2, "--out", tmp_path / "out", "--property", "height", "--json")
    said = run("optimise", tmp_path / "broken.csv", table, "--vae", planted, *options)
    assert said.code == 1 and "broken.csv" in said.err
    assert len(said.json["files"]) == 1 and len(said.json["failures"]) == 1


@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        (("--property", "heigth"), 1, "height"),
        (("--property", "height", "--method", "newton"), 1, "gradient"),
        (("--property", "height", "--target", "nan"), 1, "nan"),
        (("--property", "height", "--within", "-1"), 1, "-1"),
        (("--property", "height", "--steps", "0"), 2, "--steps"),
        (("--property", "height", "--target", "high"), 2, "--target"),
        ((), 2, "--property"),
    ],
)
def test_bad_options(
    run: Run, planted: Path, table: Path, tmp_path: Path, options: tuple[str, ...], code: int, named: str
) -> None:
    said = run("optimise", table, "--vae", planted, "--out", tmp_path / "out", *options)
    assert said.code == code and named in said.err and "Traceback" not in said.err
    assert not (tmp_path / "out").exists()


def test_a_property_of_another_domain(run: Run, vae_file: Path, photo: Path, tmp_path: Path) -> None:
    said = run("optimise", photo, "--vae", vae_file, "--out", tmp_path / "out", "--property", "height")
    assert said.code == 1 and "brightness" in said.err


def test_sentences_stay_similar(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vaekit.tasks.estimate.SAMPLES", 50)
    (tmp_path / "lengths_of_sentences.py").write_text(
        "def measure(items): return [float(len(item)) for item in items]\n"
    )
    vae, lines = tmp_path / "text.safetensors", tmp_path / "lines.txt"
    save_text_vae(vae)
    lines.write_text("A dog runs.\nA cat sleeps.\n")
    command = ("optimise", lines, "--vae", vae, "--property", "lengths_of_sentences:measure", "--steps", 4)
    found = run(*command, "--similarity", 1, "--out", tmp_path / "same", "--json").json
    (file,) = found["files"]
    assert [item["result"] for item in file["items"]] == ["A dog runs.", "A cat sleeps."]
    assert [item["similarity"] for item in file["items"]] == [1, 1] and found["similarity"]
    shown = run(*command, "--similarity", 1, "--out", tmp_path / "same")
    assert shown.code == 0 and shown.out.count("unchanged") >= 2 and found["similarity"] in shown.out
    said = run(*command, "--similarity", 2, "--out", tmp_path / "none")
    assert said.code == 2 and "--similarity" in said.err


def test_items_without_a_similarity(run: Run, planted: Path, table: Path, tmp_path: Path) -> None:
    options = ("--property", "height", "--similarity", 0.5, "--out", tmp_path / "out")
    said = run("optimise", table, "--vae", planted, *options)
    assert said.code == 1 and "--within" in said.err and not (tmp_path / "out").exists()

"""`vaekit score`."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from linear_vae import rows

from vaekit.anomaly.reference import ALL_SCORES
from vaekit.cli.score import Score

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "data.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "c", "d", "e", "f"])
        writer.writerows([*rows(40).tolist(), ["x", 1, 2, 3, 4, 5]])
    return path


@pytest.fixture
def vae(run: Run, data: Path, tmp_path: Path) -> Path:
    clean = tmp_path / "clean.csv"
    clean.write_text(data.read_text("utf-8").rsplit("x,", 1)[0], "utf-8")
    assert run("train", "tables", "--data", clean, "--out", tmp_path / "run", "--samples", 64).code == 0
    return tmp_path / "run"


def test_the_names_of_scores_are_those_of_the_package() -> None:
    assert tuple(each.value for each in Score) == ALL_SCORES


def test_without_a_threshold_it_says_how_to_get_one(run: Run, vae: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    assert "--reference" in run("score", data, "--vae", vae, "-o", out).err
    assert "--reference" not in run("score", data, "--vae", vae, "-o", out, "--reference", data).err


def test_facts_notes_and_json(run: Run, vae: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    said = run("score", data, "--vae", vae, "-o", out, "--reference", data, "--contamination", 0.1)
    assert said.code == 0, said.err
    assert "likelihood" in said.out and "rows/s" in said.out and "anomaly.safetensors" in said.out
    assert "data.csv:42" in said.err and str(out) in said.err
    assert len(out.read_text("utf-8").splitlines()) == 42
    found = run("score", data, "--vae", vae, "-o", out, "--score", "ensemble", "--json").json
    assert (found["items"], found["not_scored"], found["score"], found["reference_items"]) == (41, 1, "ensemble", 40)
    assert found["threshold"]["rule"] == "contamination" and found["rate"] > 0
    json.dumps(found)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--score", "neighbors"), 1),
        (("--score", "guess"), 2),
        (("--contamination", 0.1, "--false-positive-rate", 0.1), 2),
        (("--contamination", 0.9), 2),
        (("--labels", "defect"), 1),
        (("--limit", 0), 2),
    ],
)
def test_wrong_use(arguments: tuple[object, ...], code: int, run: Run, vae: Path, data: Path, tmp_path: Path) -> None:
    said = run("score", data, "--vae", vae, "-o", tmp_path / "scores.csv", *arguments)
    assert said.code == code and "Traceback" not in said.err
    assert not (tmp_path / "scores.csv").exists()


def test_absent_data_are_refused(run: Run, vae: Path, tmp_path: Path) -> None:
    said = run("score", tmp_path / "absent", "--vae", vae, "-o", tmp_path / "scores.csv")
    assert said.code == 1 and "absent" in said.err


def test_columns_are_kept_and_misspelled_ones_named(run: Run, vae: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    assert run("score", data, "--vae", vae, "-o", out, "--keep", "b", "--keep", "a", "--keep", "b").code == 0
    assert out.read_text("utf-8").startswith("item,score,flagged,reason,b,a\n")
    wide = tmp_path / "wide.csv"
    wide.write_text(
        "".join(f"{line},{end}\n" for line, end in zip(data.read_text().split(), ["row id", *range(41)], strict=True))
    )
    said = run("score", wide, "--vae", vae, "-o", tmp_path / "s.csv", "--keep", "row_id")
    assert said.code == 1 and "row id" in said.err and "Traceback" not in said.err
    assert not (tmp_path / "s.csv").exists()

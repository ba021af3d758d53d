"""`vaekit sample` for rows: the comparison with data as tables and JSON."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from planted_rows import save_planted
from small_text import save_text_vae

from vaekit.domains.tables import sample_quality

Run = Callable[..., Any]


def test_rows_are_compared_with_data(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_quality, "two_sample_auroc", lambda *_: 0.5)
    vae = save_planted(tmp_path / "vae.safetensors")
    assert run("sample", "--vae", vae, "-n", 100, "--out", tmp_path / "data").code == 0
    command = ("sample", "--vae", vae, "-n", 50, "--out", tmp_path / "out", "--data", tmp_path / "data" / "samples.csv")
    quality = run(*command, "--json").json["quality"]
    assert 45 <= quality["values"]["copies"] <= 50, "the same seed gives the same rows; five are held out"
    assert set(quality["parts"]) == {"height", "width", "ripe"} and "measures" in quality
    shown = run(*command, "--seed", 3).out
    assert "classifier" not in shown and "AUROC" in shown and "height" in shown and "copies of training rows" in shown


def test_data_that_nothing_uses_are_refused(run: Run, vae_file: Path, photo: Path, tmp_path: Path) -> None:
    said = run("sample", "--vae", vae_file, "-n", 1, "--out", tmp_path / "out", "--data", photo.parent)
    assert said.code == 1 and "--prior" in said.err and not (tmp_path / "out").exists()


def test_sentences_are_new_and_different(run: Run, tmp_path: Path) -> None:
    vae, data = tmp_path / "text.safetensors", tmp_path / "data"
    save_text_vae(vae)
    assert run("sample", "--vae", vae, "-n", 40, "--out", data).code == 0
    command = (
        "sample",
        "--vae",
        vae,
        "-n",
        45,
        "--unique",
        "--new-to",
        data / "samples.txt",
        "--out",
        tmp_path / "out",
    )
    found = run(*command, "--json").json
    new = (tmp_path / "out" / "samples.txt").read_text().splitlines()
    assert len(set(new)) == 45 == found["items"]
    assert found["known"] >= 1 and found["drawn"] == 45 + found["known"] + found["repeated"]
    assert any("cannot be read" in note for note in found["notes"]), "sentences without an end are too long to read"


def test_images_are_not_compared(run: Run, vae_file: Path, tmp_path: Path) -> None:
    said = run("sample", "--vae", vae_file, "-n", 1, "--unique", "--out", tmp_path / "out")
    assert said.code == 1 and "--unique" in said.err and not (tmp_path / "out").exists()

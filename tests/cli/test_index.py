"""`vaekit index` and `vaekit search`: what is printed, and exit statuses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_index import small_images, square_model

Run = Callable[..., Any]


@pytest.fixture
def vae(tmp_path: Path) -> Path:
    square_model(tmp_path / "square.safetensors")
    return tmp_path / "square.safetensors"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "images.npz"
    images = small_images(30)
    np.savez(path, x=images, y=np.arange(30) % 3)
    return path


def test_tables_and_json(run: Run, vae: Path, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    first = run("index", data, "--out", folder, "--vae", vae)
    assert first.code == 0 and "30 added" in first.out and "recall@10" in first.out and "pixels" in first.out
    assert "color histogram" in first.out and "principal components" in first.out
    again = run("index", data, "--out", folder, "--vae", vae, "--json").json
    assert (again["items"], again["embedded"], again["unchanged"], again["recall"]) == (30, 0, 30, 1.0)
    assert set(again["precision"]) >= {"embedding", "pixels", "histogram", "pca", "chance"}
    found = run("search", "images.npz[4]", "--index", folder, "-k", 3)
    lines = found.out.splitlines()
    assert found.code == 0 and len(lines) == 5 and "images.npz[4]" in lines[2] and lines[2].split()[-1] == "0.0000"
    result = run("search", "images.npz[4]", "--index", folder, "-k", 3, "--out", tmp_path / "out", "--json").json
    assert [each["rank"] for each in result["neighbors"]] == [1, 2, 3] and result["neighbors"][0]["label"] == "1"
    assert all(Path(path).is_file() for path in result["files"]) and len(result["files"]) == 3


def test_errors_are_those_of_vaekit(run: Run, vae: Path, data: Path, tmp_path: Path) -> None:
    assert run("index", tmp_path / "nowhere", "--out", tmp_path / "index", "--vae", vae).code == 1
    assert run("search", "x", "--index", tmp_path / "nowhere", "--json").json["error"]["kind"] == "BadIndex"
    assert run("index", data, "--out", tmp_path / "index", "--vae", vae, "--embed", "dino").code == 1
    assert run("search", "x", "--index", tmp_path, "-k", 0).code == 2
    assert not (tmp_path / "index").exists()

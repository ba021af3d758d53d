"""`vaekit direction` and `vaekit edit` on images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

Run = Callable[..., Any]


@pytest.fixture
def data(photo: Path, tmp_path: Path) -> Path:
    """Two folders of six small images each, dark and bright ones."""
    with Image.open(photo) as image:
        for kind, gain in (("bright", 1.0), ("dark", 0.3)):
            (tmp_path / "data" / kind).mkdir(parents=True)
            for i in range(6):
                piece = image.convert("RGB").crop((8 * i, 0, 8 * i + 16, 16))
                piece.point([round(gain * level) for level in range(256)] * 3).save(
                    tmp_path / "data" / kind / f"{i}.png"
                )
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def small_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images become squares of 32, not of 256."""
    monkeypatch.setattr("vaekit.domains.images.domain.SIZE", 32)


def test_learned_and_used(run: Run, vae_file: Path, data: Path, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "d.safetensors"
    said = run("direction", data, "--vae", vae_file, "--out", out, "--positive", "bright", "--name", "light")
    assert said.code == 0 and "from dark to bright" in said.out and "AUC" in said.out and str(out) in said.err
    for kind in ("bright", "dark"):
        (data / kind / "metadata.csv").write_text("file_name,n\n" + "".join(f"{i}.png,{i}\n" for i in range(6)))
    against = ("--orthogonal-to", out, "--method", "ridge", "--map", "--label", "n", "--json")
    found = run("direction", data, "--vae", vae_file, "--out", tmp_path / "e.safetensors", *against).json
    assert found["classes"] is None and found["positions"] == [8, 8] and found["items"] == 12
    assert found["others"][0]["label"] == "light" and abs(found["others"][0]["change"]) < 1e-3
    along = ("--direction", out, "--strength", "-1,1", "--out", tmp_path / "out")
    said = run("edit", photo, "--vae", vae_file, *along, "--side-by-side")
    assert said.code == 0 and "light" in said.out and "strip" in said.err
    assert [line.split()[0] for line in said.out.splitlines()[1:]] == ["strength", "-1", "+1"]
    found = run("edit", photo, "--vae", vae_file, *along, "--json").json
    assert found["steps"] == [[-1], [1]] and found["directions"] == ["light"] and len(found["images"]) == 2
    assert not found["failures"]


def test_several_labels_are_side_effects(run: Run, vae_file: Path, data: Path, tmp_path: Path) -> None:
    rows = [f"{kind}/{i}.png,{i},{'ab'[i % 2]}" for kind in ("bright", "dark") for i in range(6)]
    (data / "metadata.csv").write_text("\n".join(["file_name,shift,kind", *rows]))
    said = run("direction", data, "--vae", vae_file, "--label", "shift", "--out", tmp_path / "d.safetensors")
    assert said.code == 0 and "to higher values" in said.out
    assert all(name in said.out for name in ("Side effects", "folder", "kind"))


def test_bad_strengths(run: Run, vae_file: Path, data: Path, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "d.safetensors"
    run("direction", data, "--vae", vae_file, "--out", out, "--limit", 8)
    for arguments, code in (
        (("--strength", "much"), 2),
        (("--strength", ""), 2),
        (("--strength", "1", "--strength", "2"), 1),
        (("--strength", "1e9"), 1),
    ):
        said = run("edit", photo, "--vae", vae_file, "--direction", out, "--out", tmp_path / "out", *arguments)
        assert said.code == code and not (tmp_path / "out").exists()


def test_bad_data(run: Run, vae_file: Path, data: Path, photo: Path, tmp_path: Path) -> None:
    out = ("--vae", vae_file, "--out", tmp_path / "d.safetensors", "--json")
    for paths, kind in (
        ((photo,), "NotFound"),
        ((tmp_path / "none",), "NotFound"),
        ((data / "bright", data / "bright" / "0.png", data / "dark"), "BadPlan"),
        ((data, "--label", "height"), "NotFound"),
    ):
        said = run("direction", *paths, *out)
        assert (said.code, said.json["error"]["kind"]) == (1, kind)
    assert not (tmp_path / "d.safetensors").exists()

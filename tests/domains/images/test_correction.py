"""A correction as a function on images, and as a file."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import refuses

from vaekit.domains.images.correction import Correction
from vaekit.domains.images.correction_files import (
    LARGEST,
    SavedCorrection,
    find_correction,
    in_models_folder,
    read_correction,
    save_correction,
)
from vaekit.errors import BadCorrection, NotFound
from vaekit.identification.fingerprint import fingerprint
from vaekit.library.folders import models_folders
from vaekit.metrics.image.lab import encoded_light, linear_light
from vaekit.vae import VAE


def vae(value: float = 0.0) -> VAE:
    net = torch.nn.Linear(2, 2)
    torch.nn.init.constant_(net.weight, value)
    torch.nn.init.zeros_(net.bias)
    return VAE(net, lambda m: m, None, lambda m: m)  # type: ignore[arg-type, return-value]


def saved(of: VAE) -> SavedCorrection:
    correction = Correction(((1.1, 0.0, 0.0), (0.0, 0.9, 0.1), (0.0, 0.0, 1.0)), (0.0, 0.01, -0.02))
    return SavedCorrection(
        correction, "3x3 matrix and offset", fingerprint(of), 12, 0, 2.5, 1.5, (1.0, 0.8, 1.2), 0.001, {"torch": "2"}
    )


def test_no_correction_changes_nothing() -> None:
    x = torch.rand(2, 3, 9, 7, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.testing.assert_close(Correction().apply(x), x, atol=2e-6, rtol=0)


def test_it_is_affine_in_linear_light() -> None:
    x = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(0)) - 0.5
    y = Correction(((0.5, 0.0, 0.0), (0.0, 1.0, 0.0), (0.2, 0.0, 0.8)), (0.1, 0.0, 0.0)).apply(x)
    red, green, blue = linear_light(x).unbind(1)
    expected = torch.stack([0.5 * red + 0.1, green, 0.2 * red + 0.8 * blue], dim=1)
    torch.testing.assert_close(linear_light(y), expected, atol=1e-5, rtol=1e-5)


def test_the_encoding_is_the_inverse_of_linear_light() -> None:
    x = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    torch.testing.assert_close(encoded_light(linear_light(x)).double(), x, atol=1e-6, rtol=0)
    assert encoded_light(torch.tensor([-1.0, 2.0])).tolist() == pytest.approx([-1.0, 1.0], abs=1e-6)


def test_faults_are_not_hidden() -> None:
    x = torch.zeros(1, 3, 2, 2)
    x[0, 1, 0, 0], x[0, 0, 1, 1] = torch.nan, torch.inf
    y = Correction(offset=(0.1, 0.1, 0.1)).apply(x)
    assert y[0, 1, 0, 0].isnan() and y[0, 0, 1, 1].isinf()
    assert (y[0, :, 0, 1] > 0).all()


def test_a_file_comes_back_as_it_went(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.touch()
    path = save_correction(saved(vae()), str(weights))
    assert path == tmp_path / "model.safetensors.correction.json"
    assert read_correction(path) == saved(vae())
    assert find_correction(str(weights), vae()) == saved(vae())
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


def test_a_folder_has_it_inside(tmp_path: Path) -> None:
    assert save_correction(saved(vae()), str(tmp_path)) == tmp_path / "correction.json"


def test_the_built_in_vae_has_it_in_the_models_folder() -> None:
    path = save_correction(saved(vae()), "builtin")
    assert path == in_models_folder(models_folders()[0], fingerprint(vae()))
    assert find_correction("builtin", vae()) == saved(vae())
    assert find_correction("builtin", vae(1.0)) is None


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="a folder that nobody may write to")
def test_a_folder_that_cannot_be_written_leaves_it_in_the_models_folder(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.touch()
    tmp_path.chmod(0o500)
    try:
        assert save_correction(saved(vae()), str(weights)).parent == models_folders()[0] / "corrections"
        assert find_correction(str(weights), vae()) == saved(vae())
    finally:
        tmp_path.chmod(0o700)


def test_a_place_that_cannot_be_written_leaves_it_in_the_models_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As above, where the one who tests may write everywhere."""
    weights = tmp_path / "model.safetensors"
    weights.touch()
    real = os.replace

    def refuse(source: Any, target: Any) -> None:
        if Path(target).parent == tmp_path:
            raise PermissionError(13, "Permission denied")
        real(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    assert save_correction(saved(vae()), str(weights)).parent == models_folders()[0] / "corrections"
    assert find_correction(str(weights), vae()) == saved(vae())
    assert [each.name for each in tmp_path.iterdir()] == ["model.safetensors"]


def test_that_of_another_vae_is_refused(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.touch()
    save_correction(saved(vae(1.0)), str(weights))
    with pytest.raises(BadCorrection):
        find_correction(str(weights), vae())


def changed(**values: Any) -> str:
    return json.dumps(saved(vae()).as_json() | values)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "not JSON",
        "[" * 50_000,
        changed(matrix=[[1, 0, 0], [0, 1, 0]]),
        changed(matrix=[[1, 0, 0], [0, 1, 0], [0, 0, float("nan")]]),
        changed(matrix=[[1, 0, 0], [0, 1, 0], [0, 0, float("inf")]]),
        changed(matrix=[[1, 0, 0], [0, 1, 0], [0, 0, 1e9]]),
        changed(matrix=[[1, 0, 0], [0, 1, 0], [0, 0, 10**400]]),
        changed(matrix=[[1, 0, 0], [0, 1, 0], [0, 0, True]]),
        changed(matrix=[[1, 0, 0], [0, 1, 0], [0, 0, "1"]]),
        changed(matrix=[[-1, 0, 0], [0, 1, 0], [0, 0, 1]]),
        changed(matrix={"a": 1}),
        changed(offset=[0, 0]),
        changed(offset=[0, 0, 2]),
        changed(offset=None),
        changed(vae="../../etc/passwd"),
        changed(vae=["a"]),
        changed(fitted=[]),
        changed(fitted={"images": 1.5, "seed": 0}),
        changed(held_out_delta_e={}),
        changed(versions=3),
        json.dumps(saved(vae()).as_json() | {"vaekit.correction": 3}),
        json.dumps(saved(vae()).as_json() | {"vaekit.correction": True}),
        changed(more="x" * LARGEST),
    ],
)
def test_what_is_no_correction_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "correction.json"
    path.write_text(text, "utf-8")
    with refuses(BadCorrection, "--fit-correction"):
        read_correction(path)


def test_octets_that_are_no_text_and_no_file_at_all(tmp_path: Path) -> None:
    path = tmp_path / "correction.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadCorrection):
        read_correction(path)
    with pytest.raises(NotFound):
        read_correction(tmp_path / "absent.json")


def test_words_of_a_file_reach_no_terminal_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "correction.json"
    path.write_text(changed(kind="\x1b[2Jnice" * 50), "utf-8")
    assert "\x1b" not in read_correction(path).about
    assert len(read_correction(path).about) < 200

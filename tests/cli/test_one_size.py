"""The verbs on VAEs whose latent is one vector: images of one size only, gray ones among them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from vaekit.checkpoints.save import save
from vaekit.families import Config, assemble, family_with
from vaekit.families.burgess.net import BurgessConfig
from vaekit.families.joint.net import JointConfig

Run = Callable[..., Any]


def saved(config: Config, path: Path) -> Path:
    torch.manual_seed(0)
    family = family_with(config)
    assert family is not None
    save(assemble(family, config).eval(), path, "original")
    return path


@pytest.fixture
def gray_vae(tmp_path: Path) -> Path:
    return saved(BurgessConfig(1, 32, 8, 16, 5), tmp_path / "gray.safetensors")


@pytest.fixture
def choosing_vae(tmp_path: Path) -> Path:
    return saved(JointConfig(3, 64, 8, 16, 2, (4, 3)), tmp_path / "choosing.safetensors")


def image(path: Path, mode: str, size: int) -> Path:
    channels = {"L": (), "RGB": (3,)}[mode]
    levels = np.random.default_rng(0).integers(0, 256, (size, size, *channels), dtype=np.uint8)
    Image.fromarray(levels).save(path)
    return path


def test_a_gray_image_comes_back(run: Run, gray_vae: Path, tmp_path: Path) -> None:
    source = image(tmp_path / "digit.png", "L", 32)
    said = run("reconstruct", source, "--vae", gray_vae, "-o", tmp_path / "out", "--json", "--side-by-side")
    assert said.code == 0
    (trip,) = said.json["images"]
    assert (trip["latent_shape"], trip["notes"], trip["compression"]) == ([5, 1, 1], [], 204.8)
    with Image.open(tmp_path / "out" / "digit.png") as pil, Image.open(source) as original:
        assert pil.size == (32, 32)
        back = np.asarray(pil, dtype=np.float64)
        before = np.asarray(original, dtype=np.float64)[..., None]
    assert (back == back[..., :1]).all()
    assert trip["psnr"] == pytest.approx(10 * np.log10(255**2 / ((back - before) ** 2).mean()), abs=1e-3)


def test_a_image_in_color_is_reduced_to_gray_and_it_is_said(run: Run, gray_vae: Path, tmp_path: Path) -> None:
    source = image(tmp_path / "color.png", "RGB", 32)
    said = run("reconstruct", source, "--vae", gray_vae, "-o", tmp_path / "out")
    assert said.code == 0
    assert "color.png" in said.err


@pytest.mark.parametrize("verb", ["reconstruct", "encode"])
def test_another_size_is_refused_in_words(run: Run, gray_vae: Path, tmp_path: Path, verb: str) -> None:
    said = run(verb, image(tmp_path / "large.png", "L", 40), "--vae", gray_vae, "-o", tmp_path / "out")
    assert said.code == 1
    assert "40x40" in said.err
    assert "32x32" in said.err
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", ["gray_vae", "choosing_vae"])
def test_there_and_back_equals_reconstruct(run: Run, request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    vae = request.getfixturevalue(name)
    source = image(tmp_path / "x.png", "RGB", 32 if name == "gray_vae" else 64)
    assert run("encode", source, "--vae", vae, "-o", tmp_path).code == 0
    tensors = load_file(tmp_path / "x.latent.safetensors")
    assert set(tensors) == ({"mean", "log_variance"} if name == "gray_vae" else {"mean"})
    assert run("decode", tmp_path / "x.latent.safetensors", "--vae", vae, "-o", tmp_path / "decoded").code == 0
    assert run("reconstruct", source, "--vae", vae, "-o", tmp_path / "direct").code == 0
    with Image.open(tmp_path / "decoded/x.png") as a, Image.open(tmp_path / "direct/x.png") as b:
        assert a.tobytes() == b.tobytes()


def test_a_choice_is_kept_as_a_choice(run: Run, choosing_vae: Path, tmp_path: Path) -> None:
    run("encode", image(tmp_path / "x.png", "RGB", 64), "--vae", choosing_vae, "-o", tmp_path)
    choices = load_file(tmp_path / "x.latent.safetensors")["mean"][0, 2:, 0, 0]
    assert set(choices.tolist()) == {0.0, 1.0}
    assert (choices[:4].sum(), choices[4:].sum()) == (1, 1)


def test_another_vae_of_the_same_shape_reads_with_a_caution(run: Run, gray_vae: Path, tmp_path: Path) -> None:
    """Each has a latent space of its own, and nothing in the files tells whether two share one."""
    run("encode", image(tmp_path / "x.png", "L", 32), "--vae", gray_vae, "-o", tmp_path)
    torch.manual_seed(1)
    config = BurgessConfig(1, 32, 8, 16, 5)
    family = family_with(config)
    assert family is not None
    save(assemble(family, config), tmp_path / "other.safetensors")
    said = run("decode", tmp_path / "x.latent.safetensors", "--vae", tmp_path / "other.safetensors", "-o", tmp_path)
    assert said.code == 0 and said.err


def test_inspect_tells_the_only_size(run: Run, gray_vae: Path, choosing_vae: Path) -> None:
    said = run("inspect", gray_vae)
    for fact in ("5 ", "32x32", "204.8x"):
        assert fact in said.out
    assert "categories = (4, 3)" in run("inspect", choosing_vae).out
    assert run("inspect", gray_vae, "--json").json["image_size"] == 32

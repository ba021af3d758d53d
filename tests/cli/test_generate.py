"""`vaekit train diffusion-...` and `vaekit generate` on tiny digits."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_diffusion import train_options, write_digits

from vaekit.domains.recipes import names, recipe

Run = Callable[..., Any]

TRAIN = ("--set", "data.held_out=2", "--device", "cpu")


@pytest.fixture
def trained(run: Run, tmp_path: Path) -> Path:
    train_options(tmp_path)
    said = run(
        *("train", tmp_path / "small.toml", "--data", tmp_path / "digits", "--vae", tmp_path / "vae.safetensors"),
        *("--out", tmp_path / "run", "--samples", "16", *TRAIN, "--json"),
    )
    assert said.code == 0, said.err
    assert said.json["run"] == str(tmp_path / "run")
    return tmp_path


def test_a_run_generates(run: Run, trained: Path) -> None:
    call = ("generate", "1", "--model", trained / "run", "--out", trained / "made", "-n", "3", "--device", "cpu")
    said = run(*call, "--json", "--steps", "2", "--guidance", "2", "--seed", "4", "--previews")
    assert said.code == 0, said.err
    told = said.json
    assert (told["prompt"], told["steps"], told["guidance"], told["seed"], told["count"]) == ("1", 2, 2.0, 4, 3)
    assert [Path(path).is_file() for path in told["files"]] == [True] * 4
    said = run(*call, "--init", trained / "digits" / "0" / "1.png", "--strength", "0.5")
    assert said.code == 0 and said.out


@pytest.mark.parametrize(
    ("arguments", "code", "fact"),
    [
        (("7",), 1, "7"),
        (("1", "--vae", "builtin"), 1, "channels"),
        (("1", "--strength", "2"), 2, "--strength"),
        (("1", "-n", "0"), 2, "--count"),
        (("1", "--steps", "0"), 2, "--steps"),
    ],
)
def test_what_does_not_suit_is_a_user_error(
    run: Run, trained: Path, arguments: tuple[str, ...], code: int, fact: str
) -> None:
    said = run("generate", *arguments, "--model", trained / "run", "--out", trained / "never")
    assert said.code == code and fact in said.err and not said.out
    assert not (trained / "never").exists()


def test_a_training_without_its_vae_or_with_one_too_many(run: Run, tmp_path: Path) -> None:
    train_options(tmp_path)
    data = ("--data", write_digits(tmp_path / "more"), "--out", tmp_path / "out", "--device", "cpu")
    said = run("train", tmp_path / "small.toml", *data)
    assert said.code == 1 and "--vae" in said.err
    said = run("train", "mnist-mlp", *data, "--vae", tmp_path / "vae.safetensors")
    assert said.code == 1 and "--vae" in said.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [name for name in names() if name.startswith("diffusion-")])
def test_recipes_inside_are_sound(name: str) -> None:
    from vaekit.diffusion.recipe import diffusion_settings, flow_matching, net_config

    chosen = recipe(name)
    settings = diffusion_settings(chosen)
    assert {"about", "dataset", "takes"} <= chosen.table.keys()
    assert chosen.schedule().samples > 0
    for shape in ((32,), (4, 7, 7), (32, 1, 1)):
        assert net_config(chosen, settings, shape).shape == shape
    assert flow_matching(chosen, settings, 4096).times.shift == 1


PAGE = (Path(__file__).parents[2] / "docs/diffusion.md").read_text("utf-8")
QUICK = {
    "mnist-latent": ("vae.net.widths=[8]", "vae.net.latent_channels=4", "schedule.samples=32"),
    "diffusion-mnist": ("diffusion.net={kind='dit', patch=4, width=16, depth=1, heads=2}", "schedule.samples=32"),
    "diffusion-captions": ("diffusion.net={kind='dit', width=16, depth=1, heads=2}", "schedule.samples=32"),
}
SHORT = ("schedule.batch_size=8", "schedule.warmup_samples=8", "data.held_out=2", "schedule.precision='fp32'")


def write_photos(folder: Path) -> None:
    for name in ("cats", "dogs"):
        (folder / name).mkdir(parents=True)
        for number in range(6):
            image = np.full((28, 28), 250 if name == "cats" else 20, np.uint8)
            image[number : number + 4] = 128
            Image.fromarray(image).save(folder / name / f"{number}.png")
            (folder / name / f"{number}.txt").write_text(f"a {name[:-1]} on a chair")


@pytest.mark.nightly
def test_the_commands_of_the_page_work(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each as it is there, but for shorter trainings."""
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "photos")
    commands = [shlex.split(line)[1:] for line in re.findall(r"^    (vaekit .*)$", PAGE, re.MULTILINE)]
    assert [command[0] for command in commands].count("train") == 5
    for command in commands:
        changes = (*QUICK[command[1]], *SHORT) if command[0] == "train" else ()
        quick = [part for change in changes for part in ("--set", change)]
        quick += ["--steps", "2"] if command[0] == "generate" else []
        said = run(*command, *quick)
        assert said.code == 0, (command, said.err)
    for folder in ("made", "changed", "cats"):
        assert (tmp_path / folder / "generated-0001.png").is_file()
    assert len(list((tmp_path / "made").glob("generated-*.png"))) == 16

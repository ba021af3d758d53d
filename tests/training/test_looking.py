"""A look at held-out items: as many at once as in training, and the numbers are those of all of them."""

import pytest
import torch
from torch import Generator, Tensor

from vaekit.training.health import validate
from vaekit.training.objectives import Objective
from vaekit.training.recipe import Recipe
from vaekit.training.terms.table import TERMS
from vaekit.training.weights import Weight
from vaekit.vae import VAE


@pytest.fixture
def vae(small_recipe: Recipe) -> VAE:
    torch.manual_seed(0)
    return small_recipe.vae().eval()


ITEMS = torch.randint(2, (23, 1, 4, 4), generator=Generator().manual_seed(1)) * 2.0 - 1


def looked(vae: VAE, size: int, x: Tensor = ITEMS, **terms: float) -> dict[str, float | list[float]]:
    items = {"total_correlation": {"items": 60}}
    objective = Objective(
        {name: TERMS[name](**items.get(name, {})) for name in terms},
        {name: Weight.constant(weight) for name, weight in terms.items()},
    )
    return validate(vae, x, objective, 0, size, Generator().manual_seed(0))


def test_pieces_give_the_numbers_of_the_whole(vae: VAE) -> None:
    whole, pieces = looked(vae, 23, kl=1.0), looked(vae, 4, kl=1.0)
    assert pieces.keys() == whole.keys() == {"kl", "active", "kl_by_unit"}
    for name, value in whole.items():
        assert pieces[name] == pytest.approx(value, rel=1e-5)


def test_no_more_goes_through_at_once_than_is_told(vae: VAE) -> None:
    sizes: list[int] = []
    assert vae.encoder is not None
    vae.encoder.register_forward_hook(lambda _, given, __: sizes.append(len(given[0])))
    looked(vae, 5, nll=1.0, kl=1.0)
    assert sizes == [5, 5, 5, 5, 3]


def test_a_rest_too_small_for_a_term_is_left_out_of_the_losses(vae: VAE) -> None:
    assert "total_correlation" in looked(vae, 2, total_correlation=1.0)
    alone = looked(vae, 2, ITEMS[:1], total_correlation=1.0)
    assert alone.keys() == {"kl_by_unit"}

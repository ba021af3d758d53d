"""The watch over health: it tells what is wrong, once, and is silent where nothing is."""

import pytest
import torch
from torch import Generator, Tensor

from vaekit.distributions import DiagonalGaussian
from vaekit.training.health import HealthMonitor, latent_health, validate
from vaekit.training.objectives import Objective
from vaekit.training.recipe import Recipe
from vaekit.training.terms.table import TERMS
from vaekit.training.weights import Weight
from vaekit.vae import VAE


def test_active_units_are_those_whose_means_vary() -> None:
    mean = torch.zeros(50, 3)
    mean[:, 1] = torch.linspace(-2, 2, 50)
    told = latent_health(DiagonalGaussian(mean, torch.zeros(50, 3)))
    assert told["active"] == 1
    assert told["kl_by_unit"] == pytest.approx([0, 0.5 * mean[:, 1].square().mean().item(), 0])


def test_maps_count_positions_as_items() -> None:
    mean = torch.zeros(1, 2, 4, 4)
    mean[0, 0, 0] = 3.0
    assert latent_health(DiagonalGaussian(mean, torch.zeros(1, 2, 4, 4)))["active"] == 1


def test_a_collapse_is_told_once_and_only_when_weights_have_settled() -> None:
    alarms = HealthMonitor()
    numbers = {"kl": 0.01, "active": 0.0}
    assert alarms.check(numbers, held_out=True, warmed_up=False) == []
    (words,) = alarms.check(numbers, held_out=True, warmed_up=True)
    assert "Posterior collapse" in words and "free_nats" in words
    assert alarms.check(numbers, held_out=True, warmed_up=True) == []


def test_dead_codes_are_told() -> None:
    (words,) = HealthMonitor().check({"usage": 0.03}, held_out=False, warmed_up=True)
    assert "only 3%" in words
    assert HealthMonitor().check({"usage": 0.03}, held_out=False, warmed_up=False) == []
    assert HealthMonitor().check({"usage": 0.9}, held_out=False, warmed_up=True) == []


def test_an_exploding_gradient_is_told() -> None:
    alarms = HealthMonitor()
    for _ in range(10):
        assert alarms.check({"gradient": 2.0}, held_out=False, warmed_up=True) == []
    (words,) = alarms.check({"gradient": 90.0}, held_out=False, warmed_up=True)
    assert "usually 2" in words


def test_a_discriminator_that_has_won_is_told() -> None:
    (words,) = HealthMonitor().check({"discriminator": 0.001}, held_out=False, warmed_up=True)
    assert "always right" in words


def test_a_healthy_run_is_silent() -> None:
    alarms = HealthMonitor()
    assert alarms.check({"kl": 20.0, "active": 12.0}, held_out=True, warmed_up=True) == []
    assert alarms.check({"gradient": 1.0, "discriminator": 1.1}, held_out=False, warmed_up=True) == []


def test_one_item_tells_nothing_of_what_varies() -> None:
    assert "active" not in latent_health(DiagonalGaussian(torch.ones(1, 3), torch.zeros(1, 3)))


def test_a_kl_that_is_held_at_a_capacity_is_no_collapse() -> None:
    """The part `kl` is then how far it is from there."""
    numbers = {"kl": 0.02, "active": 3.0, "kl_by_unit": [4.0, 5.0, 3.0]}
    assert HealthMonitor().check(numbers, held_out=True, warmed_up=True) == []
    assert HealthMonitor().check({"kl": 0.02}, held_out=True, warmed_up=True) != []


def test_a_step_that_was_passed_over_is_told() -> None:
    (words,) = HealthMonitor().check({"passed_over": 1.0}, held_out=False, warmed_up=False)
    assert "skipped" in words


# ------------------------------------------------------------ validation on held-out items


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

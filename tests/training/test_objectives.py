"""Objectives: weighted sums of terms over one pass."""

import pickle
from dataclasses import replace

import pytest
import torch
from passes import gaussian_pass, random_pass, seeded
from refusals import refuses
from torch import Generator, Tensor, nn

from vaekit.distributions import DiagonalGaussian, Normal, Point
from vaekit.errors import BadRecipe
from vaekit.training.objectives import Objective, Pass, Term
from vaekit.training.terms.plain import kl
from vaekit.training.weights import Weight, weight_from
from vaekit.vae import VAE


def test_warm_up_and_cycles_are_weights() -> None:
    seen = random_pass((3,))
    warm_up = weight_from([[0, 0.0], [1000, 1.0]])
    cyclic = weight_from([[0, 0.0], [500, 1.0]], period=1000)
    for weight, factors in ((warm_up, {0: 0, 250: 0.25, 9000: 1}), (cyclic, {250: 0.5, 700: 1, 1250: 0.5, 2000: 0})):
        for samples, factor in factors.items():
            losses = Objective({"kl": kl()}, {"kl": weight})(seen.vae, seen.x, samples, seeded())
            assert losses.total.item() == pytest.approx(factor * seen.posterior.kl(seen.prior).mean().item())


def constant(value: float, **settings: object) -> Term:
    """A term of this value for each item."""
    return Term(lambda seen: torch.full((len(seen.x),), value), **{"nats": False, **settings})  # type: ignore[arg-type]


def weights(**values: float) -> dict[str, Weight]:
    return {name: Weight.constant(value) for name, value in values.items()}


def test_the_total_is_the_weighted_sum_of_means() -> None:
    seen = random_pass((3,))
    terms = {"a": constant(2.0), "b": constant(5.0, latents_only=True), "c": constant(7.0, nats=True)}
    losses = Objective(terms, weights(a=0.5, b=2.0, c=1.0))(seen.vae, seen.x, 0, seeded())
    assert losses.total.item() == 0.5 * 2 + 2 * 5 + 7
    assert losses.fidelity.item() == 0.5 * 2 + 7, "what looks at latents alone is not about the result"
    assert {name: part.item() for name, part in losses.parts.items()} == {"a": 2.0, "b": 5.0, "c": 7.0}


def test_nats_may_be_divided_by_the_values_of_an_item() -> None:
    seen = random_pass((3, 2, 2))  # moments of 6 x 2 x 2
    terms = {"a": constant(48.0, nats=True), "b": constant(5.0)}
    losses = Objective(terms, weights(a=1.0, b=1.0), per_dimension=True)(seen.vae, seen.x, 0, seeded())
    assert losses.total.item() == 48 / 24 + 5
    assert losses.parts["a"].item() == 48


def test_a_term_of_weight_zero_is_not_computed() -> None:
    seen = random_pass((3,))

    def fail(_: Pass) -> Tensor:
        raise AssertionError

    objective = Objective({"a": Term(fail, nats=False), "b": constant(1.0)}, weights(a=0.0, b=1.0))
    losses = objective(seen.vae, seen.x, 0, seeded())
    assert losses.parts.keys() == {"b"}


def test_gradients_flow_through_the_total_and_not_through_the_parts() -> None:
    seen = random_pass((3,))
    x = seen.x.clone().requires_grad_()
    losses = Objective({"kl": kl()}, weights(kl=1.0))(seen.vae, x, 0, seeded())
    assert losses.total.requires_grad and not losses.parts["kl"].requires_grad


def squares(forward: Pass) -> Tensor:
    return forward.x.square().sum(dim=1)


def first_value(forward: Pass) -> Tensor:
    return forward.x[:, 0]


TRIMMED = Objective(
    {"a": Term(squares, nats=False), "b": Term(first_value, nats=False, latents_only=True)},
    weights(a=2.0, b=-1.0),
    trim=0.25,
)


def test_the_items_with_the_largest_losses_do_not_count() -> None:
    seen = random_pass((3,), count=8)
    x = seen.x.clone().requires_grad_()
    losses = TRIMMED(seen.vae, x, 0, seeded())
    kept = (2 * x.square().sum(dim=1) - x[:, 0]).argsort()[:6]
    alone = x.detach()[kept].requires_grad_()
    expected = TRIMMED.untrimmed(seen.vae, alone, 0, seeded())
    torch.testing.assert_close(losses.total, expected.total)
    torch.testing.assert_close(losses.fidelity, expected.fidelity)
    torch.testing.assert_close(losses.parts, expected.parts)
    losses.total.backward()
    expected.total.backward()
    assert x.grad is not None and alone.grad is not None
    torch.testing.assert_close(x.grad[kept], alone.grad)
    assert x.grad.any(dim=1).sum() == 6, "trimmed items have no gradient"


@pytest.mark.parametrize(("trim", "items", "counted"), [(0.29, 100, 71), (0.05, 39, 38), (0.05, 40, 38), (0.99, 7, 1)])
def test_shares_are_rounded_down(trim: float, items: int, counted: int) -> None:
    seen = random_pass((3,), count=items)
    x = seen.x.clone().requires_grad_()
    replace(TRIMMED, trim=trim)(seen.vae, x, 0, seeded()).total.backward()
    assert x.grad is not None and x.grad.any(dim=1).sum() == counted


def test_a_term_with_one_value_for_the_batch_counts_as_it_is() -> None:
    seen = random_pass((3,))
    terms = {"a": Term(squares, nats=False), "all": Term(lambda forward: forward.x.sum(), nats=False)}
    losses = Objective(terms, weights(a=1.0, all=1.0), trim=0.5)(seen.vae, seen.x, 0, seeded())
    assert losses.parts["all"] == seen.x.sum()
    assert losses.parts["a"] == squares(seen).sort().values[:4].mean()
    with refuses(BadRecipe, "0.5", "nll"):
        Objective({"all": terms["all"]}, weights(all=1.0), trim=0.5)(seen.vae, seen.x, 0, seeded())


def test_trimming_needs_batches_of_which_an_item_is_trimmed() -> None:
    assert TRIMMED.min_items == 4 and TRIMMED.untrimmed.min_items == 1
    assert replace(TRIMMED, trim=0.07).min_items == 15
    assert pickle.loads(pickle.dumps(TRIMMED)).trim == 0.25


def test_the_most_items_that_a_term_needs_are_needed() -> None:
    objective = Objective({"a": constant(1.0), "b": constant(1.0, min_items=2)}, weights(a=1.0, b=1.0))
    assert objective.min_items == 2
    assert Objective({}, {}).min_items == 1


@pytest.mark.parametrize(
    ("weight", "samples", "settled"),
    [
        (Weight.constant(1.0), 0, True),
        (Weight(((0, 0.0), (100, 1.0))), 99, False),
        (Weight(((0, 0.0), (100, 1.0))), 100, True),
        (Weight(((0, 0.0), (100, 1.0)), period=200), 10**6, False),
    ],
)
def test_weights_are_settled_behind_their_last_point(weight: Weight, samples: int, settled: bool) -> None:
    assert Objective({"a": constant(1.0)}, {"a": weight}).has_final_weights(samples) is settled


def test_a_pass_computes_each_quantity_once() -> None:
    calls = []

    class Counted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            calls.append(self)
            return x

    vae = VAE(Counted(), DiagonalGaussian.from_moments, Counted(), Normal)
    seen = Pass(vae, torch.randn(4, 6, generator=seeded(1)), 0, Generator().manual_seed(0))
    assert torch.equal(seen.z, seen.z) and seen.result is not None and seen.likelihood is seen.likelihood
    assert len(calls) == 2
    expected = vae.encode(seen.x).sample(Generator().manual_seed(0))
    assert torch.equal(seen.z, expected) and torch.equal(seen.result, expected)


def test_a_function_of_a_pass_is_called_once_for_each_of_its_settings() -> None:
    seen, calls = random_pass((3,)), []

    def size(found: Pass, *settings: int) -> int:
        calls.append(settings)
        return len(found.x) + sum(settings)

    assert [seen.once(size, *settings) for settings in ((1,), (1,), (2,), ())] == [9, 9, 10, 8]
    assert calls == [(1,), (2,), ()]


def test_without_a_prior_a_term_that_needs_one_is_refused() -> None:
    plain = VAE(nn.Identity(), Point, nn.Identity(), Normal)
    with refuses(BadRecipe, "standard"):
        _ = Pass(plain, torch.zeros(2, 3), 0, seeded()).prior
    assert gaussian_pass(torch.zeros(2, 3), torch.zeros(2, 3)).prior is not None

"""Autoregressive likelihoods: padding, beam search, temperature."""

from itertools import product

import pytest
import torch
from torch import Generator, Tensor

from vaekit.distributions import sequences
from vaekit.distributions.sequences import END, AutoregressiveCategorical, Decoding, before_padding
from vaekit.errors import BadItem
from vaekit.nets.sequence import SequenceConfig
from vaekit.nets.token_models import TOKEN_MODELS


def likelihood(decoder: str = "gru", items: int = 6, **decoding: float) -> AutoregressiveCategorical:
    torch.manual_seed(3)
    config = SequenceConfig(3, 4, 2, width=8, embedding=4, heads=2, decoder=decoder)
    model = TOKEN_MODELS[decoder](config, word_dropout=0.0, dropout=0.0).eval()
    with torch.no_grad():
        for each in model.parameters():
            each *= 3  # far from uniform
    return AutoregressiveCategorical(model, torch.randn(items, 4), 4, Decoding(**decoding))  # type: ignore[arg-type]


def every_sequence() -> Tensor:
    """Of three tokens, END among them, and four places."""
    x = torch.tensor(list(product(range(3), repeat=4)))
    return torch.where(before_padding(x), x, END).unique(dim=0)


@torch.no_grad()
@pytest.mark.parametrize("decoder", TOKEN_MODELS)
def test_probabilities_of_all_sequences_add_up_to_one(decoder: str) -> None:
    x = every_sequence()
    p = likelihood(decoder, items=1)
    whole = AutoregressiveCategorical(p.model, p.context.expand(len(x), -1), 4)
    # A sequence without END was cut off: the probability of everything that begins with it.
    torch.testing.assert_close(whole.log_prob(x).exp().sum(), torch.tensor(1.0))


@torch.no_grad()
@pytest.mark.parametrize("decoder", TOKEN_MODELS)
def test_padding_has_no_probability_and_no_influence(decoder: str) -> None:
    p = likelihood(decoder)
    x = torch.tensor([[1, 2, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 2, 0], [2, 2, 2, 2]])
    factors = p.log_factors(x)
    assert torch.equal(factors != 0, before_padding(x))
    rubbish = torch.where(before_padding(x), x, 2)
    torch.testing.assert_close(p.log_factors(rubbish), factors)
    longer = torch.cat([x[:3], torch.zeros(3, 5, dtype=torch.long)], dim=1)
    first = AutoregressiveCategorical(p.model, p.context[:3], 9)
    torch.testing.assert_close(first.log_prob(longer), factors[:3].sum(dim=1))


@torch.no_grad()
@pytest.mark.parametrize("decoder", TOKEN_MODELS)
def test_a_wide_beam_finds_the_most_probable_sequence(decoder: str) -> None:
    x = every_sequence()
    p = likelihood(decoder, beam=len(x))
    for item, found in enumerate(p.mode):
        one = AutoregressiveCategorical(p.model, p.context[item : item + 1].expand(len(x), -1), 4)
        assert torch.equal(found, x[one.log_prob(x).argmax()])


@torch.no_grad()
def test_a_beam_of_one_is_greedy_search() -> None:
    p = likelihood()
    assert torch.equal(p._search(1), p.mode)


@torch.no_grad()
def test_what_is_generated_is_padded_with_the_end() -> None:
    p = likelihood()
    for x in (p.mode, p.sample(Generator().manual_seed(0)), p._search(2)):
        assert x.shape == (6, 4)
        assert torch.equal(torch.where(before_padding(x), x, END), x)


def test_memory_is_bounded_without_gradients_and_values_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    p, x = likelihood(), every_sequence()[:6]
    whole = p.log_factors(x)
    monkeypatch.setattr(sequences, "AT_ONCE", 4)
    with torch.no_grad():
        torch.testing.assert_close(p.log_factors(x), whole)


@torch.no_grad()
def test_logits_that_are_not_finite_are_refused() -> None:
    p = likelihood()
    for each in p.model.parameters():  # type: ignore[attr-defined]
        each.fill_(float("nan"))
    for generate in (lambda: p.mode, p.sample, lambda: p._search(2)):
        with pytest.raises(BadItem):
            generate()


@torch.no_grad()
def test_samples_follow_the_temperature() -> None:
    for temperature in (1e-4, 1e-45, 1e-300):  # the last ones are 0 in single precision
        cold = likelihood(temperature=temperature)
        assert torch.equal(cold.sample(Generator().manual_seed(0)), cold.mode)
    warm = likelihood(temperature=1e4)
    drawn = AutoregressiveCategorical(warm.model, warm.context[:1].expand(3000, -1), 4, warm.decoding)
    first = drawn.sample(Generator().manual_seed(0))[:, 0].bincount(minlength=3) / 3000
    torch.testing.assert_close(first, torch.full((3,), 1 / 3), atol=0.03, rtol=0)

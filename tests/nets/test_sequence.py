"""Nets for sequences of tokens."""

from itertools import product

import pytest
import torch
from torch import Generator, Tensor

from vaekit.distributions import AutoregressiveCategorical
from vaekit.distributions.sequences import END, Decoding, Generates, before_padding
from vaekit.nets.likelihoods import TokensPart
from vaekit.nets.mlp import MLPConfig
from vaekit.nets.sequence import ENCODERS, NextToken, SequenceConfig
from vaekit.nets.token_models import TOKEN_MODELS

KINDS = list(product(ENCODERS, TOKEN_MODELS))


def config(encoder: str = "gru", decoder: str = "gru") -> SequenceConfig:
    return SequenceConfig(5, 6, 3, width=8, embedding=4, layers=2, heads=2, encoder=encoder, decoder=decoder)


def tokens(count: int = 16) -> Tensor:
    return torch.randint(5, (count, 6), generator=Generator().manual_seed(0))


def head(word_dropout: float, decoder: str = "gru") -> NextToken:
    torch.manual_seed(0)
    return TokensPart(word_dropout).head(config(decoder=decoder))


@pytest.mark.parametrize(("encoder", "decoder"), KINDS)
def test_tokens_go_in_and_a_likelihood_of_tokens_comes_out(encoder: str, decoder: str) -> None:
    encode, decode = config(encoder, decoder).build(2, 1)
    assert encode(tokens()).shape == (16, 6)
    p = head(0.3, decoder).eval()(decode(torch.zeros(16, 3)))
    assert isinstance(p, AutoregressiveCategorical)
    assert p.log_prob(tokens()).shape == (16,)
    assert p.sample(Generator().manual_seed(0)).shape == p.mode.shape == (16, 6)


@torch.no_grad()
@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_encoder_ignores_padding_and_the_rest_of_the_batch(encoder: str) -> None:
    torch.manual_seed(0)
    encode, _ = config(encoder).build(2, 1)
    x = tokens()
    clean = torch.where(before_padding(x), x, END)
    moments = encode.eval()(clean)
    torch.testing.assert_close(encode(x), moments)
    torch.testing.assert_close(encode(clean.flip(0)).flip(0), moments)
    torch.testing.assert_close(torch.cat([encode(each) for each in clean.split(1)]), moments)


@torch.no_grad()
def test_without_an_encoder_latents_do_not_depend_on_data() -> None:
    encode, _ = config("none").build(2, 1)
    moments = encode(tokens())
    assert torch.equal(moments, moments[:1].expand_as(moments))
    assert sum(each.numel() for each in encode.parameters()) == 6


@torch.no_grad()
def test_words_are_hidden_while_training_only_and_by_the_seed() -> None:
    context, x = torch.zeros(16, 4), tokens()

    def log_prob(net: NextToken, seed: int) -> Tensor:
        torch.manual_seed(seed)
        return net(context).log_prob(x)

    training, resting = head(0.5).train(), head(0.5).eval()
    assert torch.equal(log_prob(training, 1), log_prob(training, 1))
    assert not torch.equal(log_prob(training, 1), log_prob(training, 2))
    assert torch.equal(log_prob(resting, 1), log_prob(resting, 2))
    assert torch.equal(log_prob(resting, 1), log_prob(head(0.0).train(), 1))


@torch.no_grad()
def test_with_all_words_hidden_only_the_context_counts() -> None:
    net, context = head(1.0).train(), torch.randn(1, 4).expand(16, 4)
    hidden = net.model.hidden(context, tokens())
    torch.testing.assert_close(hidden, hidden[:1].expand_as(hidden))


def test_results_are_generated_as_the_head_is_set() -> None:
    net = head(0.0).eval()
    assert isinstance(net, Generates)
    net.decoding = Decoding(beam=3, temperature=0.5)
    assert net(torch.zeros(2, 4)).decoding == net.decoding
    for beam, temperature in ((0, 1.0), (1, 0.0), (1, float("inf"))):
        with pytest.raises(ValueError):
            Decoding(beam, temperature)


def test_a_bag_of_tokens_is_an_output_of_its_own() -> None:
    assert head(0.0).bag_logits(torch.zeros(2, 4)) is None
    logits = TokensPart(bag=True).head(config()).bag_logits(torch.zeros(2, 4))
    assert logits is not None
    assert logits.shape == (2, 5)


def test_tokens_go_with_sequences_only() -> None:
    with pytest.raises(ValueError):
        TokensPart().head(MLPConfig((5,), 2, (8,)))
    with pytest.raises(ValueError):
        TokensPart(1.5)
    for wrong in (
        {"vocabulary": 0},
        {"width": 1},
        {"length": 2**15},
        {"encoder": "cnn"},
        {"decoder": "none"},
        {"decoder": "transformer", "heads": 3},
    ):
        with pytest.raises(ValueError):
            SequenceConfig(**{"vocabulary": 5, "length": 6, "latent_channels": 3, "width": 8, **wrong})

"""Nets for sequences of tokens."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Generator, Tensor, nn

from vaekit.distributions import AutoregressiveCategorical
from vaekit.distributions.sequences import END, Decoding, Generates, before_padding
from vaekit.nets.likelihoods import TokensPart
from vaekit.nets.mlp import MLPConfig
from vaekit.nets.sequence import ENCODERS, NextToken, SequenceConfig
from vaekit.nets.token_models import TOKEN_MODELS

GROUP = 4
"""Tokens of a group: the second group of a sequence is shorter. 99 are all at once."""
KINDS = [
    (encoder, decoder, group)
    for encoder, decoder, group in product(ENCODERS, TOKEN_MODELS, (0, GROUP, 99))
    if group or encoder != "groups"
]


def config(encoder: str = "gru", decoder: str = "gru", group: int = 0) -> SequenceConfig:
    sizes = {"width": 8, "embedding": 4, "layers": 2, "heads": 2}
    return SequenceConfig(5, 6, 3, **sizes, encoder=encoder, decoder=decoder, group=group)


def shapes(net: nn.Module) -> list[tuple[int, ...]]:
    """Of all weights."""
    return [tuple(each.shape) for each in net.parameters()]


def tokens(count: int = 16) -> Tensor:
    return torch.randint(5, (count, 6), generator=Generator().manual_seed(0))


def head(word_dropout: float, decoder: str = "gru") -> NextToken:
    torch.manual_seed(0)
    return TokensPart(word_dropout).head(config(decoder=decoder))


@pytest.mark.parametrize(("encoder", "decoder", "group"), KINDS)
def test_tokens_go_in_and_a_likelihood_of_tokens_comes_out(encoder: str, decoder: str, group: int) -> None:
    encode, decode = config(encoder, decoder, group).build(2, 1)
    assert encode(tokens()).shape == (16, 6)
    contexts = decode(torch.zeros(16, 3))
    assert contexts.shape == ((16, 6, 4) if group else (16, 4))
    p = head(0.3, decoder).eval()(contexts)
    assert isinstance(p, AutoregressiveCategorical)
    assert p.log_prob(tokens()).shape == (16,)
    assert p.sample(Generator().manual_seed(0)).shape == p.mode.shape == (16, 6)


@pytest.mark.parametrize("decoder", TOKEN_MODELS)
def test_a_decoder_may_have_a_width_of_its_own(decoder: str) -> None:
    same, own = (replace(config(decoder=decoder), decoder_width=width) for width in (0, 4))
    encoders, heads = zip(*((each.build(2, 1)[0], TokensPart().head(each)) for each in (same, own)), strict=True)
    assert shapes(encoders[0]) == shapes(encoders[1])
    assert shapes(heads[0]) == shapes(TokensPart().head(replace(same, decoder_width=8))) != shapes(heads[1])
    assert heads[1](torch.zeros(2, 4)).mode.shape == (2, 6)


@torch.no_grad()
@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_encoder_ignores_padding_and_the_rest_of_the_batch(encoder: str) -> None:
    torch.manual_seed(0)
    encode, _ = config(encoder, group=GROUP).build(2, 1)
    x = tokens()
    clean = torch.where(before_padding(x), x, END)
    moments = encode.eval()(clean)
    torch.testing.assert_close(encode(x), moments)
    torch.testing.assert_close(encode(clean.flip(0)).flip(0), moments)
    torch.testing.assert_close(torch.cat([encode(each) for each in clean.split(1)]), moments)
    longest = int(before_padding(clean[:1]).sum())
    torch.testing.assert_close(encode(clean[:1, :longest]), moments[:1])


@torch.no_grad()
def test_without_an_encoder_latents_do_not_depend_on_data() -> None:
    encode, _ = config("none").build(2, 1)
    moments = encode(tokens())
    assert torch.equal(moments, moments[:1].expand_as(moments))
    assert sum(each.numel() for each in encode.parameters()) == 6


@torch.no_grad()
@pytest.mark.parametrize("decoder", TOKEN_MODELS)
def test_with_groups_each_position_has_a_context_that_depends_on_the_latent(decoder: str) -> None:
    torch.manual_seed(0)
    _, decode = config(decoder=decoder, group=GROUP).build(2, 1)
    one, other = decode(torch.randn(2, 3)).unbind()
    assert len({tuple(context) for context in one.tolist()}) == 6
    assert not torch.isclose(one, other).all(dim=1).any()
    changed = torch.cat([one[:3], other[3:]])
    states = head(0.0, decoder).eval().model.hidden(torch.stack([one, changed]), tokens(1)[:, :5].expand(2, -1))
    torch.testing.assert_close(states[0, :3], states[1, :3])
    assert not torch.isclose(states[0, 3:], states[1, 3:]).all(dim=1).any()


@torch.no_grad()
@pytest.mark.parametrize("decoder", TOKEN_MODELS)
def test_greedy_search_with_groups_gives_the_same_each_time(decoder: str) -> None:
    torch.manual_seed(0)
    _, decode = config(decoder=decoder, group=GROUP).build(2, 1)
    p = head(0.0, decoder).eval()(decode(torch.randn(8, 3)))
    assert torch.equal(p.mode, p.mode)
    factors, counted = p.log_factors(p.mode), before_padding(p.mode)
    chosen = p.model.logits(p.model.hidden(p.context, p.mode[:, :-1])).log_softmax(dim=-1).amax(dim=-1)
    torch.testing.assert_close(factors[counted], chosen[counted])


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
    for context in (torch.zeros(2, 4), torch.zeros(2, 6, 4)):
        logits = TokensPart(bag=True).head(config()).bag_logits(context)
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
        {"decoder_width": -1},
        {"decoder": "transformer", "decoder_width": 6},
        {"group": -1},
        {"encoder": "groups"},
        {"decoder": "transformer", "heads": 3},
    ):
        with pytest.raises(ValueError):
            SequenceConfig(**{"vocabulary": 5, "length": 6, "latent_channels": 3, "width": 8, **wrong})

"""Nets of tokens: shapes, order, and words that are hidden while training only."""

import pytest
import torch
from torch import Generator, Tensor

from vaekit.distributions import AutoregressiveCategorical
from vaekit.nets.likelihoods import TokensPart
from vaekit.nets.mlp import MLPConfig
from vaekit.nets.sequence import NextToken, SequenceConfig

CONFIG = SequenceConfig(vocabulary=5, length=6, latent_channels=3, width=8, embedding=4)


def tokens(count: int = 4) -> Tensor:
    return torch.randint(5, (count, 6), generator=Generator().manual_seed(0))


def head(word_dropout: float) -> NextToken:
    torch.manual_seed(0)
    return TokensPart(word_dropout).head(CONFIG)


def test_tokens_go_in_and_a_likelihood_of_tokens_comes_out() -> None:
    encoder, decoder = CONFIG.build(2, 1)
    assert encoder(tokens()).shape == (4, 6)
    p = head(0.3).eval()(decoder(torch.zeros(4, 3)))
    assert isinstance(p, AutoregressiveCategorical)
    assert p.log_prob(tokens()).shape == (4,)
    assert p.sample(Generator().manual_seed(0)).shape == p.mode.shape == (4, 6)


@torch.no_grad()
def test_no_token_sees_itself_or_what_follows() -> None:
    net, context, x = head(0.0).eval(), torch.randn(4, 8), tokens()
    before = net.next_logits(context, x)
    for t in range(6):
        changed = x.clone()
        changed[:, t] = (changed[:, t] + 1) % 5
        after = net.next_logits(context, changed)
        assert torch.equal(after[:, : t + 1], before[:, : t + 1])
        assert not torch.equal(after[:, t + 1], before[:, t + 1])


@torch.no_grad()
def test_words_are_hidden_while_training_only_and_by_the_seed() -> None:
    context, x = torch.zeros(4, 8), tokens()

    def told(net: NextToken, seed: int) -> Tensor:
        torch.manual_seed(seed)
        return net(context).log_prob(x)

    training, resting = head(0.5).train(), head(0.5).eval()
    assert torch.equal(told(training, 1), told(training, 1))
    assert not torch.equal(told(training, 1), told(training, 2))
    assert torch.equal(told(resting, 1), told(resting, 2))
    assert torch.equal(told(resting, 1), told(head(0.0).train(), 1))


@torch.no_grad()
def test_with_all_words_hidden_only_the_context_counts() -> None:
    net, context = head(1.0).train(), torch.randn(1, 8).expand(4, 8)
    logits = net.next_logits(context, tokens())
    torch.testing.assert_close(logits, logits[:1].expand_as(logits))


def test_tokens_go_with_sequences_only() -> None:
    with pytest.raises(ValueError):
        TokensPart().head(MLPConfig((5,), 2, (8,)))
    with pytest.raises(ValueError):
        TokensPart(1.5)
    with pytest.raises(ValueError):
        SequenceConfig(vocabulary=0, length=6, latent_channels=3)

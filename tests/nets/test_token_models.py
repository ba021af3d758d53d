"""Models of the next token."""

import pytest
import torch
from torch import Generator, Tensor

from vaekit.distributions.sequences import TokenModel
from vaekit.nets.sequence import SequenceConfig
from vaekit.nets.token_models import TOKEN_MODELS


@pytest.fixture(params=TOKEN_MODELS)
def model(request: pytest.FixtureRequest) -> TokenModel:
    torch.manual_seed(0)
    config = SequenceConfig(5, 7, 3, width=8, embedding=4, layers=2, heads=2, decoder=request.param)
    model = TOKEN_MODELS[request.param](config, word_dropout=0.5, dropout=0.5).eval()
    assert isinstance(model, TokenModel)
    return model


@pytest.fixture(params=[(4, 4), (4, 7, 4)], ids=["one context", "a context per position"])
def context(request: pytest.FixtureRequest) -> Tensor:
    return torch.randn(request.param, generator=Generator().manual_seed(1))


def tokens() -> Tensor:
    return torch.randint(5, (4, 6), generator=Generator().manual_seed(0))


@torch.no_grad()
def test_no_state_depends_on_its_token_or_what_follows(model: TokenModel, context: Tensor) -> None:
    x = tokens()
    before = model.hidden(context, x)
    for t in range(6):
        changed = x.clone()
        changed[:, t] = (changed[:, t] + 1) % 5
        after = model.hidden(context, changed)
        torch.testing.assert_close(after[:, : t + 1], before[:, : t + 1])
        assert not torch.allclose(after[:, t + 1], before[:, t + 1])


@torch.no_grad()
def test_every_state_depends_on_the_context(model: TokenModel, context: Tensor) -> None:
    one, other = model.hidden(context, tokens()), model.hidden(-context, tokens())
    assert not torch.isclose(one, other).all(dim=2).any()


@torch.no_grad()
def test_steps_are_those_of_the_whole_sequence(model: TokenModel, context: Tensor) -> None:
    whole = model.hidden(context, tokens())
    hidden, state = model.start(context)
    torch.testing.assert_close(hidden, whole[:, 0])
    for t in range(6):
        hidden, state = model.step(tokens()[:, t], state)
        torch.testing.assert_close(hidden, whole[:, t + 1])
        assert all(len(each) == 4 for each in state)
    assert model.logits(whole).shape == (4, 7, 5)

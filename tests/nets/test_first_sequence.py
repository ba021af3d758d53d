"""The sequence net of the first edition."""

import pytest
import torch
from torch import Generator

from vaekit.distributions.sequences import TokenModel
from vaekit.nets.first_sequence import FirstSequenceConfig
from vaekit.nets.likelihoods import TokensPart

CONFIG = FirstSequenceConfig(5, 6, 3, width=8, embedding=4)


@torch.no_grad()
def test_steps_are_those_of_the_whole_sequence() -> None:
    torch.manual_seed(0)
    head = CONFIG.token_head(0.3, 0.0, False).eval()
    assert isinstance(head, TokenModel)
    context, x = torch.randn(4, 8), torch.randint(5, (4, 6), generator=Generator().manual_seed(0))
    whole = head.hidden(context, x)
    hidden, state = head.start(context)
    for t in range(6):
        torch.testing.assert_close(hidden, whole[:, t])
        hidden, state = head.step(x[:, t], state)


@torch.no_grad()
def test_every_sequence_has_the_whole_length() -> None:
    torch.manual_seed(0)
    encoder, decoder = CONFIG.build(2, 1)
    x = torch.zeros(2, 6, dtype=torch.long)
    p = CONFIG.token_head(0.0, 0.0, False).eval()(decoder(encoder(x)[:, :3]))
    assert (p.log_factors(x) < 0).all()
    probabilities = p.model.logits(p.model.hidden(p.context, x[:, :-1])).softmax(dim=2)
    torch.testing.assert_close(p.log_factors(x), probabilities[:, :, 0].log())


def test_settings_of_the_newer_net_are_refused() -> None:
    for part in (TokensPart(dropout=0.1), TokensPart(bag=True)):
        with pytest.raises(ValueError):
            part.head(CONFIG)
    with pytest.raises(ValueError):
        FirstSequenceConfig(0, 6, 3)

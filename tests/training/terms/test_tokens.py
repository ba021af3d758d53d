"""Terms for sequences of tokens."""

import pytest
import torch
from torch import Generator

from vaekit.errors import BadRecipe
from vaekit.families import PARTS, assemble
from vaekit.families.parts.net import GaussianPart, PartsConfig
from vaekit.nets.likelihoods import TokensPart
from vaekit.nets.sequence import SequenceConfig
from vaekit.training.objectives import Pass
from vaekit.training.terms.tokens import bag_of_tokens

NET = SequenceConfig(5, 4, 2, width=8, embedding=4)


def a_pass(bag: bool) -> Pass:
    torch.manual_seed(0)
    vae = assemble(PARTS, PartsConfig(NET, GaussianPart(), TokensPart(bag=bag)))
    return Pass(vae, torch.tensor([[1, 2, 0, 0], [3, 3, 3, 0]]), 0, Generator().manual_seed(0))


def test_a_bag_of_tokens_is_the_cross_entropy_of_tokens_that_count() -> None:
    seen = a_pass(bag=True)
    assert seen.vae.decoder is not None
    context = seen.vae.decoder(seen.z)
    log_p = seen.vae.to_likelihood.bag_logits(context).log_softmax(dim=1)  # type: ignore[attr-defined]
    expected = [-(log_p[0, 1] + log_p[0, 2] + log_p[0, 0]), -(3 * log_p[1, 3] + log_p[1, 0])]
    found = bag_of_tokens().compute(seen)
    torch.testing.assert_close(found, torch.stack(expected))
    found.sum().backward()
    assert all(each.grad is not None for each in seen.vae.encoder.parameters())  # type: ignore[union-attr]


def test_a_bag_of_tokens_needs_an_output() -> None:
    with pytest.raises(BadRecipe):
        bag_of_tokens().compute(a_pass(bag=False))

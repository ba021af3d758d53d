"""Networks may say their parameters in half precision, as under autocast: log-probabilities are exact all the same."""

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor

from vaekit.distributions import (
    AutoregressiveCategorical,
    Bernoulli,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Laplace,
    Likelihood,
    Normal,
)
from vaekit.nets.priors import Flow, FlowPart

SAID = torch.randn(4, 3, 8, 8, generator=Generator().manual_seed(0)).bfloat16()
X = torch.randn(4, 3, 8, 8, generator=Generator().manual_seed(1)).clamp(-1, 1)


class LogitsOfContext:
    """A model of tokens whose logits are the context."""

    def hidden(self, context: Tensor, previous: Tensor) -> Tensor:
        return context[:, : previous.shape[1] + 1]

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden

    def start(self, context: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        return context[:, 0], (context[:, 1:],)

    def step(self, token: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        return self.start(state[0])


KINDS: dict[str, tuple[Callable[[Tensor], Likelihood], Tensor]] = {
    "logistic": (lambda said: DiscretizedLogistic(said, torch.tensor(0.0123)), X),
    "mixture": (lambda said: DiscretizedLogisticMixture.from_parameters(said, components=1, scale=0.1), X[:, :1]),
    "bernoulli": (Bernoulli, (X > 0).float()),
    "normal": (lambda said: Normal(said, 0.1), X),
    "laplace": (lambda said: Laplace(said, 0.1), X),
    "tokens": (
        lambda said: AutoregressiveCategorical(LogitsOfContext(), said.flatten(2), 3),
        X[:, :, 0, 0].gt(0).long(),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_log_probabilities_are_those_of_the_same_parameters(kind: str) -> None:
    make, x = KINDS[kind]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = make(SAID).log_prob(x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, make(SAID.float()).log_prob(x), rtol=1e-5, atol=1e-3)


def test_the_density_of_a_flow_is_exact() -> None:
    torch.manual_seed(0)
    flow = Flow(FlowPart(layers=2, hidden=8), 6)
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    prior, z = flow(lambda _: _), torch.randn(5, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = prior.log_prob(z)
    assert torch.equal(inside, prior.log_prob(z))

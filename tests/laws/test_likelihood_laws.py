"""What every likelihood must do, tried on all of them, and what each must equal exactly."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Distribution
from torch.distributions import Laplace as TorchLaplace
from torch.distributions import Normal as TorchNormal
from torch.distributions import StudentT as TorchStudentT

from vaekit.distributions import (
    AutoregressiveCategorical,
    Bernoulli,
    Columns,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Factorized,
    Group,
    Laplace,
    Likelihood,
    LogisticCounts,
    LogisticSteps,
    Normal,
    OneHot,
    SignedBernoulli,
    StudentT,
    TwoValued,
)
from vaekit.distributions.cells import UNSEEN
from vaekit.distributions.sequences import END, before_padding
from vaekit.nets.token_models import Recurrent

SAMPLES = 40_000
INDEPENDENT = ("normal", "laplace", "bernoulli", "student")
"""The members whose elements are independent: torch has them too, and their mode is the true one."""


@dataclass(frozen=True)
class Member:
    """A likelihood, and all data that one item of it can be."""

    build: Callable[[Tensor], Likelihood]
    parameters: Tensor
    """A decoder's output for four items."""
    single: Tensor
    """A decoder's output for one small item."""
    support: Tensor
    """Everything the small item can be, (n, ...): all of it, or a fine grid."""
    cell: float
    """The volume that each entry of the support stands for."""
    theirs: Callable[[Tensor], Distribution] | None
    """Torch's own, where it has one."""


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def all_sequences(symbols: int, length: int) -> Tensor:
    return torch.tensor(list(product(range(symbols), repeat=length)))


def canonical(x: Tensor) -> Tensor:
    """Each sequence once, with END in all places after the first."""
    return torch.where(before_padding(x), x, END).unique(dim=0)


def continuous(build: Callable[[Tensor], Likelihood], theirs: Callable[[Tensor], Distribution]) -> Member:
    parameters = torch.randn(4, 2, 3, generator=seeded()).requires_grad_()
    grid = torch.linspace(-15, 15, 30_001).unsqueeze(1)
    return Member(build, parameters, torch.tensor([[0.4]]), grid, 0.001, theirs)


CELLS = ("steps", "counts", "two-valued", "one-hot")
"""Kinds of table columns with a discrete support."""


@pytest.fixture(
    params=[*INDEPENDENT, *CELLS, "signed bernoulli", "autoregressive", "logistic", "logistic mixture", "columns"]
)
def member(request: pytest.FixtureRequest, next_token: nn.Module) -> Member:
    spread = torch.tensor([0.5, 0.8, 1.1])
    logits = torch.randn(4, 2, 3, generator=seeded()).requires_grad_()
    contexts = torch.randn(4, 6, generator=seeded()).requires_grad_()
    bits = all_sequences(2, 3)
    tokens = canonical(all_sequences(3, 3))
    levels = torch.linspace(-1, 1, 256).unsqueeze(1)
    row = torch.cartesian_prod(torch.linspace(-8, 8, 1601), torch.tensor([0.0, 1.0]))
    said, pairs, columns = (torch.randn(4, n, generator=seeded()).requires_grad_() for n in (18, 2, 6))
    members = {
        "normal": lambda: continuous(lambda mean: Normal(mean, 0.7), lambda mean: TorchNormal(mean, 0.7)),
        "laplace": lambda: continuous(
            lambda mean: Laplace(mean, spread[: mean.shape[-1]]), lambda mean: TorchLaplace(mean, spread)
        ),
        "bernoulli": lambda: Member(
            Bernoulli, logits, logits.detach()[:1, 0], bits.float(), 1.0, lambda values: TorchBernoulli(logits=values)
        ),
        "student": lambda: continuous(
            lambda mean: StudentT(mean, 0.3, torch.tensor(7.0)), lambda mean: TorchStudentT(7.0, mean, 0.3)
        ),
        "steps": lambda: Member(
            lambda mean: LogisticSteps(mean, 0.7, torch.tensor([0.25])),
            columns,
            torch.tensor([[0.4]]),
            torch.arange(-60, 61).unsqueeze(1) / 2,
            1.0,
            None,
        ),
        "counts": lambda: Member(
            lambda mean: LogisticCounts(mean, 0.2, torch.tensor([1.0]), torch.tensor([0.5])),
            columns,
            torch.tensor([[0.4]]),
            (torch.arange(2000.0).log1p().unsqueeze(1) - 1) / 0.5,
            1.0,
            None,
        ),
        "two-valued": lambda: Member(
            lambda values: TwoValued(values, 0.0),
            columns,
            torch.tensor([[0.4]]),
            torch.tensor([[UNSEEN], [0.0], [1.0]]),
            1.0,
            None,
        ),
        "one-hot": lambda: Member(
            lambda values: OneHot(values, 3, 0.0),
            columns,
            torch.tensor([[0.4, -1.0, 0.2]]),
            torch.cat([torch.zeros(1, 3), torch.eye(3)]),
            1.0,
            None,
        ),
        "signed bernoulli": lambda: Member(
            SignedBernoulli, logits, logits.detach()[:1, 0], 2 * bits.float() - 1, 1.0, None
        ),
        "autoregressive": lambda: Member(
            lambda context: AutoregressiveCategorical(next_token, context, 3),
            contexts,
            3 * contexts.detach()[:1],
            tokens,
            1.0,
            None,
        ),
        "logistic": lambda: Member(
            lambda mean: DiscretizedLogistic(mean, 0.3), logits, torch.tensor([[0.4]]), levels, 1.0, None
        ),
        "logistic mixture": lambda: Member(
            lambda told: DiscretizedLogisticMixture.from_parameters(told, 2, 0.2),
            said,
            said.detach()[:1, :6],
            levels,
            1.0,
            None,
        ),
        "columns": lambda: Member(
            lambda told: Columns((Group(Normal(told[:, :1], 0.7), 1), Group(Bernoulli(told[:, 1:]), 1))),
            pairs,
            pairs.detach()[:1],
            row,
            0.01,
            None,
        ),
    }
    return members[request.param]()


def copies(member: Member, count: int) -> Likelihood:
    """The small item, as often as asked."""
    return member.build(member.single.expand(count, *member.single.shape[1:]))


def probabilities(member: Member) -> Tensor:
    """Of everything that the small item can be."""
    with torch.no_grad():
        return copies(member, len(member.support)).log_prob(member.support).double().exp() * member.cell


def test_is_a_likelihood_and_frozen(member: Member) -> None:
    p = member.build(member.parameters)
    assert isinstance(p, Likelihood)
    with pytest.raises(dataclasses.FrozenInstanceError):
        p.log_prob = None  # type: ignore[method-assign,assignment]


def test_mode_and_samples_have_the_shape_of_data(member: Member) -> None:
    p = member.build(member.parameters)
    x = p.sample(seeded())
    assert x.shape == p.mode.shape
    assert x.dtype == p.mode.dtype
    assert p.log_prob(x).shape == p.log_prob(p.mode).shape == (4,)
    assert p.log_prob(x).isfinite().all()


def test_probabilities_sum_to_one(member: Member) -> None:
    assert probabilities(member).sum().item() == pytest.approx(1, abs=1e-4)


def test_a_batch_is_its_items_one_by_one(member: Member) -> None:
    whole = member.build(member.parameters)
    x = whole.sample(seeded())
    items = [member.build(member.parameters[i : i + 1]).log_prob(x[i : i + 1]) for i in range(4)]
    torch.testing.assert_close(torch.cat(items), whole.log_prob(x))


def test_factors_sum_to_the_log_probability(member: Member) -> None:
    p = member.build(member.parameters)
    if not isinstance(p, Factorized):
        assert isinstance(p, AutoregressiveCategorical)
        return
    x = p.sample(seeded())
    torch.testing.assert_close(p.log_factors(x).flatten(1).sum(dim=1), p.log_prob(x))


@pytest.mark.parametrize("member", INDEPENDENT, indirect=True)
def test_log_prob_is_that_of_torch(member: Member) -> None:
    assert member.theirs is not None
    p = member.build(member.parameters)
    x = p.sample(seeded())
    expected = member.theirs(member.parameters).log_prob(x).flatten(1).sum(dim=1)
    torch.testing.assert_close(p.log_prob(x), expected)


def test_log_prob_has_gradients_and_samples_have_none(member: Member) -> None:
    p = member.build(member.parameters)
    x = p.sample(seeded())
    assert not x.requires_grad
    p.log_prob(x).sum().backward()
    assert member.parameters.grad is not None
    assert member.parameters.grad.isfinite().all()
    assert (member.parameters.grad != 0).any()


def test_one_seed_gives_one_sample(member: Member) -> None:
    p = member.build(member.parameters)
    assert torch.equal(p.sample(seeded(1)), p.sample(seeded(1)))


def test_samples_have_the_mean_and_spread_that_the_density_says(member: Member) -> None:
    x = copies(member, SAMPLES).sample(seeded()).double()
    weights = probabilities(member).unsqueeze(1)
    mean = (weights * member.support).sum(dim=0)
    variance = (weights * (member.support - mean).square()).sum(dim=0)
    standard_error = (variance / SAMPLES).sqrt()
    assert ((x.mean(dim=0) - mean).abs() < 4 * standard_error).all()
    torch.testing.assert_close(x.var(dim=0), variance, rtol=0.05, atol=0)


@pytest.mark.parametrize("member", INDEPENDENT, indirect=True)
def test_nothing_is_more_probable_than_the_mode(member: Member) -> None:
    best = copies(member, 1).log_prob(copies(member, 1).mode).exp().item() * member.cell
    assert best >= probabilities(member).max().item() - 1e-7
    p = copies(member, 100)
    assert (p.log_prob(p.mode) >= p.log_prob(p.sample(seeded()))).all()


def test_a_learned_scale_has_a_gradient() -> None:
    for family in (Normal, Laplace):
        scale = torch.tensor(0.5, requires_grad=True)
        family(torch.zeros(2, 3), scale).log_prob(torch.ones(2, 3)).sum().backward()
        assert scale.grad is not None
        assert scale.grad > 0


def test_laplace_samples_are_finite_in_half_precision() -> None:
    x = Laplace(torch.zeros(4, 50_000, dtype=torch.float16), 0.5).sample(seeded())
    assert x.dtype == torch.float16
    assert x.isfinite().all()


def test_bernoulli_takes_gray_values_and_tells_its_mean() -> None:
    p = Bernoulli(torch.tensor([[0.0, 2.0], [-1.0, 30.0]]))
    torch.testing.assert_close(p.mean, torch.tensor([[0.0, 2.0], [-1.0, 30.0]]).sigmoid())
    assert p.log_prob(torch.full((2, 2), 0.5)).isfinite().all()


def test_signed_bernoulli_is_bernoulli_of_shifted_data() -> None:
    logits = torch.randn(4, 2, 3, generator=seeded())
    shades = torch.rand(4, 2, 3, generator=seeded())
    p = SignedBernoulli(logits)
    torch.testing.assert_close(p.log_prob(2 * shades - 1), Bernoulli(logits).log_prob(shades))
    torch.testing.assert_close(p.mode, 2 * logits.sigmoid() - 1)
    assert (p.log_prob(p.mode.sign()) >= p.log_prob(p.sample(seeded()))).all()
    assert set(p.sample(seeded()).unique().tolist()) == {-1.0, 1.0}


def test_signed_bernoulli_is_best_where_its_mode_is_the_data() -> None:
    shade = torch.tensor([[0.3]])
    logits = torch.linspace(-6, 6, 2401).unsqueeze(1)
    best = SignedBernoulli(logits).log_prob(shade.expand(2401, 1)).argmax()
    assert SignedBernoulli(logits).mode[best].item() == pytest.approx(0.3, abs=0.005)


def sequences(next_token: Recurrent) -> AutoregressiveCategorical:
    return AutoregressiveCategorical(next_token, torch.randn(4, 6, generator=seeded()), 5)


@torch.no_grad()
def test_the_mode_of_a_sequence_is_greedy_step_by_step(next_token: Recurrent) -> None:
    p = sequences(next_token)
    tokens, total = torch.empty(4, 0, dtype=torch.long), torch.zeros(4)
    for _ in range(p.length):
        hidden = next_token.hidden(p.context, tokens)[:, -1]
        best, chosen = next_token.logits(hidden).log_softmax(dim=-1).max(dim=-1)
        running = (tokens != END).all(dim=1)
        tokens = torch.cat([tokens, torch.where(running, chosen, END).unsqueeze(1)], dim=1)
        total = total + torch.where(running, best, 0)
    assert torch.equal(p.mode, tokens)
    torch.testing.assert_close(p.log_prob(p.mode), total)


@torch.no_grad()
def test_a_sequence_depends_on_its_context(next_token: Recurrent) -> None:
    p = sequences(next_token)
    x = p.sample(seeded())
    other = AutoregressiveCategorical(next_token, -p.context, 5)
    assert (other.log_prob(x) != p.log_prob(x)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_gradient_of_a_bernoulli_is_that_of_torch(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(3, 2, 5, generator=generator) * 8).to(dtype).requires_grad_()
    x = torch.rand(3, 2, 5, generator=generator).requires_grad_()
    weights = torch.randn(3, generator=generator)
    (weights * Bernoulli(logits).log_prob(x)).sum().backward()
    ours = logits.grad, x.grad
    logits.grad, x.grad = None, None
    cost = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), x, reduction="none")
    (weights * -cost.flatten(1).sum(dim=1)).sum().backward()
    torch.testing.assert_close(ours[0], logits.grad, rtol=1e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-6)
    torch.testing.assert_close(ours[1], x.grad)

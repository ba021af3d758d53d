"""What every posterior must do, tried on all of them, and what each must equal exactly."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.distributions import Categorical, Independent, kl_divergence
from torch.distributions import Normal as TorchNormal

from vaekit.distributions import (
    Choices,
    DiagonalGaussian,
    GaussianAndCategoricals,
    NormalAndUniform,
    Point,
    Posterior,
    Prior,
    Quantized,
    StandardNormal,
    UniformCodes,
)
from vaekit.distributions.base import map_tensors, sum_items
from vaekit.nets.quantizers import ChoiceQuantizer, FiniteScalarQuantizer, ResidualQuantizer, SignQuantizer
from vaekit.nets.vector_quantizer import CosineQuantizer


@dataclass(frozen=True)
class Member:
    """A posterior and the prior that goes with it."""

    build: Callable[[Tensor], Posterior]
    moments: Tensor
    prior: Prior
    exact: int = 4
    """Leading channels of the moments whose gradient from a sample is one: those of means."""


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


MIXED_PRIOR = NormalAndUniform((3,))


def mixed(moments: Tensor) -> GaussianAndCategoricals:
    return GaussianAndCategoricals.from_moments(moments, (3,))


@pytest.fixture(params=["gaussian", "point", "quantized", "mixed", "cosine-vq", "residual-vq", "fsq", "lfq", "gumbel"])
def member(request: pytest.FixtureRequest, quantizer: nn.Module) -> Member:
    moments = torch.randn(3, 4, 2, 5, generator=seeded()).requires_grad_()
    twice = torch.randn(3, 8, 2, 5, generator=seeded()).requires_grad_()
    members = {
        "gaussian": Member(DiagonalGaussian.from_moments, twice, StandardNormal()),
        "point": Member(Point, moments, StandardNormal()),
        "quantized": Member(quantizer, moments, UniformCodes(5)),
        # Of four channels one is a number; the others are three categories.
        "mixed": Member(mixed, torch.randn(3, 5, 2, 5, generator=seeded()).requires_grad_(), MIXED_PRIOR, 1),
        # Unit vectors and bounded numbers have gradients of their own, and choices those of relaxed ones.
        "cosine-vq": Member(CosineQuantizer(5, 4), moments, UniformCodes(5), 0),
        "residual-vq": Member(ResidualQuantizer(5, 4, stages=3), moments, UniformCodes(5**3)),
        "fsq": Member(FiniteScalarQuantizer((4, 3, 3, 2)), moments, UniformCodes(72), 0),
        "lfq": Member(SignQuantizer(4), moments, UniformCodes(2**4)),
        "gumbel": Member(ChoiceQuantizer(4, relaxed=True).eval(), moments, UniformCodes(4), 0),
    }
    return members[request.param]


def test_is_a_posterior_and_frozen(member: Member) -> None:
    q = member.build(member.moments)
    assert isinstance(q, Posterior)
    with pytest.raises(dataclasses.FrozenInstanceError):
        q.mean = member.moments  # type: ignore[misc]


def test_latents_have_one_shape_and_dtype(member: Member) -> None:
    q = member.build(member.moments)
    for z in (q.mean, q.mode, q.sample(seeded())):
        assert z.shape == (3, 4, 2, 5)
        assert z.dtype == torch.float32


def test_log_prob_and_kl_are_one_number_per_item(member: Member) -> None:
    q = member.build(member.moments)
    z = q.sample(seeded())
    for prior in (member.prior, StandardNormal()):
        assert q.kl(prior).shape == prior.log_prob(z).shape == (3,)
        assert q.kl(prior).isfinite().all()
    assert q.log_prob(z).shape == (3,)
    assert (q.kl(member.prior) >= 0).all()


def test_its_own_samples_are_possible(member: Member) -> None:
    q = member.build(member.moments)
    assert q.log_prob(q.sample(seeded())).isfinite().all()
    assert (q.log_prob(q.mode) >= q.log_prob(q.sample(seeded()))).all()


def test_gradients_flow_from_a_sample_to_the_encoder(member: Member) -> None:
    z = member.build(member.moments).sample(seeded())
    z.sum().backward()
    assert member.moments.grad is not None
    assert (member.moments.grad[:, : member.exact] == 1).all()


def test_one_seed_gives_one_sample(member: Member) -> None:
    q = member.build(member.moments)
    assert torch.equal(q.sample(seeded(1)), q.sample(seeded(1)))


def test_a_batch_is_its_items_one_by_one(member: Member) -> None:
    whole = member.build(member.moments)
    z = whole.sample(seeded())
    for i in range(3):
        item = member.build(member.moments[i : i + 1])
        torch.testing.assert_close(item.mean, whole.mean[i : i + 1])
        torch.testing.assert_close(item.log_prob(z[i : i + 1]), whole.log_prob(z)[i : i + 1])
        torch.testing.assert_close(item.kl(member.prior), whole.kl(member.prior)[i : i + 1])


def test_takes_latents_without_positions(member: Member) -> None:
    q = member.build(member.moments.detach()[:, :, 0, 0])
    assert q.sample(seeded()).shape == (3, 4)
    assert q.kl(member.prior).shape == (3,)


def gaussian(items: int, size: int, seed: int = 0) -> DiagonalGaussian:
    return DiagonalGaussian.from_moments(torch.randn(items, 2 * size, generator=seeded(seed)))


def theirs(q: DiagonalGaussian) -> Independent:
    return Independent(TorchNormal(q.mean, q.std), 1)


def test_gaussian_log_prob_is_that_of_torch() -> None:
    q = gaussian(4, 6)
    z = torch.randn(4, 6, generator=seeded(1))
    torch.testing.assert_close(q.log_prob(z), theirs(q).log_prob(z))


def test_gaussian_kl_is_that_of_torch() -> None:
    q = gaussian(4, 6)
    standard = Independent(TorchNormal(torch.zeros(4, 6), torch.ones(4, 6)), 1)
    torch.testing.assert_close(q.kl(StandardNormal()), kl_divergence(theirs(q), standard))


def test_gaussian_kl_is_what_samples_say() -> None:
    one, prior = gaussian(1, 3), StandardNormal()
    many = DiagonalGaussian(one.mean.expand(40_000, -1), one.log_variance.expand(40_000, -1))
    z = many.sample(seeded())
    differences = many.log_prob(z) - prior.log_prob(z)
    assert differences.mean().item() == pytest.approx(one.kl(prior).item(), abs=standard_errors(differences))


def standard_errors(values: Tensor) -> float:
    """Four of them: by chance the mean is farther off once in 16,000 seeds."""
    return 4 * values.std().item() / math.sqrt(len(values))


def test_gaussian_samples_have_its_mean_and_spread() -> None:
    one = gaussian(1, 3)
    z = DiagonalGaussian(one.mean.expand(40_000, -1), one.log_variance.expand(40_000, -1)).sample(seeded())
    torch.testing.assert_close(z.mean(dim=0), one.mean[0], atol=0.03, rtol=0)
    torch.testing.assert_close(z.std(dim=0), one.std[0], atol=0, rtol=0.02)


def test_gaussian_log_variances_are_clamped() -> None:
    q = DiagonalGaussian.from_moments(torch.tensor([[0.0, 0.0, -1e4, 1e4]]))
    assert q.log_variance.tolist() == [[-30.0, 20.0]]
    assert q.std.isfinite().all()
    assert q.kl(StandardNormal()).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gaussian_of_half_precision_moments_is_in_single(dtype: torch.dtype) -> None:
    q = DiagonalGaussian.from_moments(torch.full((1, 4, 2, 2), 30.0, dtype=dtype))
    assert q.mean.dtype == q.log_variance.dtype == q.sample(seeded()).dtype == torch.float32
    assert q.std.isfinite().all()


def test_gaussian_of_double_precision_moments_stays_double() -> None:
    assert DiagonalGaussian.from_moments(torch.zeros(1, 4).double()).sample(seeded()).dtype == torch.float64


@dataclass(frozen=True)
class TwoHills:
    """p(z) = (N(-2, 1) + N(2, 1)) / 2 per element: a prior for which no divergence has a closed form."""

    def log_prob(self, z: Tensor) -> Tensor:
        hills = torch.stack([TorchNormal(center, 1.0).log_prob(z) for center in (-2.0, 2.0)])
        return sum_items(hills.logsumexp(dim=0) - math.log(2))


def test_gaussian_kl_without_a_closed_form_is_unbiased() -> None:
    torch.manual_seed(0)
    prior = TwoHills()
    assert isinstance(prior, Prior)
    many = DiagonalGaussian(torch.full((40_000, 1), 0.7), torch.full((40_000, 1), -1.0))
    grid = torch.linspace(-8, 8, 4001).unsqueeze(1)
    q = DiagonalGaussian(torch.full((4001, 1), 0.7), torch.full((4001, 1), -1.0)).log_prob(grid)
    exact = torch.trapezoid(q.exp() * (q - prior.log_prob(grid)), grid[:, 0]).item()
    estimates = many.kl(prior)
    assert estimates.mean().item() == pytest.approx(exact, abs=standard_errors(estimates))


def test_gaussian_kl_without_a_closed_form_has_gradients() -> None:
    moments = torch.randn(3, 8, generator=seeded()).requires_grad_()
    DiagonalGaussian.from_moments(moments).kl(TwoHills()).sum().backward()
    assert moments.grad is not None
    assert (moments.grad != 0).all()


def test_point_kl_is_the_cross_entropy() -> None:
    mean = torch.randn(3, 4, generator=seeded())
    for prior in (StandardNormal(), TwoHills()):
        torch.testing.assert_close(Point(mean).kl(prior), -prior.log_prob(mean))


def test_a_point_is_impossible_elsewhere() -> None:
    q = Point(torch.zeros(2, 3))
    elsewhere = torch.tensor([[0.0, 0.0, 0.0], [0.0, 1e-6, 0.0]])
    assert q.log_prob(elsewhere).tolist() == [0.0, -math.inf]


def quantized(quantizer: nn.Module, *shape: int) -> Quantized:
    q = quantizer(torch.randn(*shape, generator=seeded()).requires_grad_())
    assert isinstance(q, Quantized)
    return q


def test_quantized_kl_is_what_the_codes_cost(quantizer: nn.Module) -> None:
    q = quantized(quantizer, 3, 4, 2, 5)
    torch.testing.assert_close(q.kl(UniformCodes(5)), torch.full((3,), 2 * 5 * math.log(5)))
    torch.testing.assert_close(q.kl(UniformCodes(5)), -UniformCodes(5).log_prob(q.mean))


def test_quantized_latents_are_codebook_vectors_to_the_last_bit(quantizer: nn.Module) -> None:
    q = quantized(quantizer, 3, 4, 2, 5)
    assert torch.equal(q.sample(), q.embedded)
    assert torch.equal(q.mean.movedim(1, -1), quantizer.codebook[q.codes])


def test_quantized_latents_give_the_codebook_no_gradient(quantizer: nn.Module) -> None:
    q = quantized(quantizer, 3, 4, 2, 5)
    q.sample().sum().backward()
    assert quantizer.codebook.grad is None


def test_posteriors_are_joined_and_split_as_whole_records(member: Member) -> None:
    q = member.build(member.moments.detach())
    parts = [member.build(item) for item in member.moments.detach().split(1)]
    joined = map_tensors(torch.cat, *parts)
    assert type(joined) is type(q)
    assert torch.equal(joined.mode, q.mode)
    torch.testing.assert_close(joined.kl(member.prior), q.kl(member.prior))


def two_choices(items: int) -> GaussianAndCategoricals:
    return GaussianAndCategoricals.from_moments(torch.randn(items, 2 * 2 + 3 + 4, generator=seeded(2)), (3, 4))


def categorical(q: GaussianAndCategoricals) -> list[Categorical]:
    return [Categorical(logits=logits) for logits in q.logits.split(q.categories, dim=1)]


def test_mixed_log_prob_and_kl_are_those_of_torch() -> None:
    q = two_choices(5)
    z = q.sample(seeded())
    numbers, *choices = z.split([2, 3, 4], dim=1)
    expected = theirs(q.gaussian).log_prob(numbers)
    divergence = q.gaussian.kl(StandardNormal())
    for choice, law in zip(choices, categorical(q), strict=True):
        expected = expected + law.log_prob(choice.argmax(dim=1))
        divergence = divergence + kl_divergence(law, Categorical(logits=torch.zeros_like(law.logits)))
    torch.testing.assert_close(q.log_prob(z), expected)
    torch.testing.assert_close(q.kl(NormalAndUniform((3, 4))), divergence)


def test_mixed_kl_is_what_samples_say() -> None:
    one, prior = two_choices(1), NormalAndUniform((3, 4))
    many = map_tensors(lambda tensors: tensors[0].expand(40_000, -1), one)
    z = many.sample(seeded())
    differences = many.log_prob(z) - prior.log_prob(z)
    assert differences.mean().item() == pytest.approx(one.kl(prior).item(), abs=standard_errors(differences))


def test_mixed_samples_choose_as_often_as_they_say() -> None:
    one = two_choices(1)
    z = map_tensors(lambda tensors: tensors[0].expand(40_000, -1), one).sample(seeded())
    torch.testing.assert_close(z.mean(dim=0), one.mean[0], atol=0.03, rtol=0)
    for choice in z.split([2, 3, 4], dim=1)[1:]:
        assert ((choice == 0) | (choice == 1)).all()
        assert (choice.sum(dim=1) == 1).all()


def test_mixed_mode_is_the_most_probable_choice() -> None:
    q = two_choices(5)
    _, *choices = q.mode.split([2, 3, 4], dim=1)
    for choice, law in zip(choices, categorical(q), strict=True):
        assert torch.equal(choice.argmax(dim=1), law.probs.argmax(dim=1))
        assert torch.equal(choice, choice.round())


@pytest.mark.parametrize("wrong", [[0.5, 0.5, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [2.0, -1.0, 0.0]])
def test_what_is_no_choice_is_impossible(wrong: list[float]) -> None:
    q = GaussianAndCategoricals.from_moments(torch.zeros(1, 5), (3,))
    assert q.log_prob(torch.tensor([[0.0, *wrong]])).item() == -math.inf
    assert q.log_prob(torch.tensor([[0.0, 0.0, 1.0, 0.0]])).isfinite().all()


def test_the_logits_of_a_choice_get_a_gradient_from_samples_and_from_the_mode() -> None:
    weights = torch.tensor([0.0, 1.0, 2.0, 3.0])
    for draw in (lambda q: q.sample(seeded()), lambda q: q.mode):
        moments = torch.randn(3, 5, generator=seeded()).requires_grad_()
        (draw(GaussianAndCategoricals.from_moments(moments, (3,))) * weights).sum().backward()
        assert moments.grad is not None
        assert (moments.grad[:, 2:] != 0).all()


def test_the_mixed_prior_is_a_distribution() -> None:
    grid = torch.linspace(-8, 8, 4001)
    one_hot = torch.eye(3).repeat_interleave(len(grid), dim=0)
    z = torch.cat([grid.repeat(3).unsqueeze(1), one_hot], dim=1)
    density = NormalAndUniform((3,)).log_prob(z).exp().view(3, -1)
    assert torch.trapezoid(density, grid).sum().item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 5)])
def test_standard_normal_is_that_of_torch(shape: tuple[int, ...]) -> None:
    z = torch.randn(shape, generator=seeded())
    expected = TorchNormal(0.0, 1.0).log_prob(z).flatten(1).sum(dim=1)
    torch.testing.assert_close(StandardNormal().log_prob(z), expected)


def test_a_choice_has_the_probabilities_and_the_divergence_of_torch() -> None:
    logits = torch.randn(5, 4, 2, 3, generator=seeded())
    q, law = Choices(logits), Categorical(logits=logits.movedim(1, -1))
    z = q.sample(seeded(1))
    torch.testing.assert_close(q.log_prob(z), law.log_prob(z.argmax(dim=1)).sum(dim=(1, 2)))
    expected = kl_divergence(law, Categorical(logits=torch.zeros(5, 2, 3, 4))).sum(dim=(1, 2))
    torch.testing.assert_close(q.kl(UniformCodes(4)), expected)
    drawn = q.log_prob(z) - UniformCodes(4).log_prob(z)
    assert drawn.shape == expected.shape


def test_choices_are_drawn_as_often_as_they_are_probable() -> None:
    logits = torch.tensor([[1.0, 0.0, -1.0]])
    z = Choices(logits.expand(40_000, -1), temperature=0.1).sample(seeded())
    assert torch.equal(z, z.round())
    torch.testing.assert_close(z.mean(dim=0), logits.softmax(dim=1)[0], atol=0.01, rtol=0)
    relaxed = Choices(logits.expand(40_000, -1), temperature=0.01, relaxed=True).sample(seeded())
    torch.testing.assert_close(relaxed.sum(dim=1), torch.ones(40_000))
    torch.testing.assert_close(relaxed.mean(dim=0), logits.softmax(dim=1)[0], atol=0.01, rtol=0)


def test_codes_cost_as_much_as_uniform_ones_say(member: Member) -> None:
    q = member.build(member.moments.detach())
    if isinstance(q, Quantized) and isinstance(member.prior, UniformCodes):
        cost = torch.full((3,), 2 * 5 * math.log(member.prior.size))
        torch.testing.assert_close(q.kl(member.prior), cost)
        torch.testing.assert_close(-member.prior.log_prob(q.mode), cost)
        assert torch.equal(member.build.embed(q.codes), q.embedded)  # type: ignore[attr-defined]


def test_half_precision_moments_are_read_in_single(member: Member) -> None:
    q = member.build(member.moments.detach().bfloat16())
    if not isinstance(q, Point):
        assert q.mode.dtype == q.sample(seeded()).dtype == torch.float32

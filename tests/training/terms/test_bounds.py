"""Bounds of the evidence, against closed forms and against the plain way to compute them."""

import math
import time
from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor, nn

from vaekit.distributions import Always, DiagonalGaussian, Normal, SignedBernoulli, StandardNormal
from vaekit.distributions.base import map_tensors
from vaekit.runtime import draws
from vaekit.training.objectives import Pass
from vaekit.training.terms.bounds import draws_per_call
from vaekit.training.terms.table import iwae, kl, nll
from vaekit.vae import VAE


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def rows(width: int = 16) -> VAE:
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(10, width), nn.Tanh(), nn.Linear(width, 6))
    decoder = nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 10))
    return VAE(encoder, DiagonalGaussian.from_moments, decoder, SignedBernoulli, to_prior=Always(StandardNormal()))


def bits(count: int) -> Tensor:
    return torch.randn(count, 10, generator=seeded()).sign()


def one_by_one(vae: VAE, x: Tensor, k: int, generator: Generator) -> Tensor:
    """The same bound by a loop over the draws, from the same noise."""
    posterior = vae.encode(x)
    z = (
        map_tensors(lambda t: t[0].expand(k, *t[0].shape).flatten(0, 1), posterior)
        .sample(generator)
        .unflatten(0, (k, -1))
    )
    weights = [
        vae.likelihood(each).log_prob(x) + StandardNormal().log_prob(each) - posterior.log_prob(each) for each in z
    ]
    return math.log(k) - torch.stack(weights).logsumexp(dim=0)


def test_all_draws_at_once_are_the_draws_one_by_one_with_their_gradients() -> None:
    vae, x = rows(), bits(4)
    found = iwae(k=7).compute(Pass(vae, x, 0, seeded()))
    expected = one_by_one(vae, x, 7, seeded())
    torch.testing.assert_close(found, expected)
    parameters = list(vae.parameters())
    gradients = (torch.autograd.grad(each.sum(), parameters) for each in (found, expected))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


@torch.no_grad()
def test_one_draw_is_the_elbo() -> None:
    vae, x = rows(), bits(1).expand(60_000, 10)
    found = iwae(k=1).compute(Pass(vae, x, 0, seeded()))
    seen = Pass(vae, x, 0, seeded(1))
    plain = nll().compute(seen) + kl().compute(seen)
    assert (found.mean() - plain.mean()).abs() < 4 * (found.var() + plain.var()).sqrt() / math.sqrt(len(x))


@torch.no_grad()
def test_more_draws_are_tighter() -> None:
    vae, x = rows(), bits(2000)
    bounds = [iwae(k=k).compute(Pass(vae, x, 0, seeded())).mean().item() for k in (1, 5, 50)]
    assert bounds[0] > bounds[1] > bounds[2]


@torch.no_grad()
def test_with_the_true_posterior_it_is_the_evidence_to_the_last_digits() -> None:
    """p(z) = N(0, 1), p(x|z) = N(2 z, 0.5): p(x) = N(0, sqrt(4.25)), p(z|x) = N(8 x / 17, sqrt(1 / 17))."""

    class Exact(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([8 / 17 * x, torch.full_like(x, -math.log(17))], dim=1)

    class Twice(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return 2 * z

    vae = VAE(
        Exact(), DiagonalGaussian.from_moments, Twice(), lambda m: Normal(m, 0.5), to_prior=Always(StandardNormal())
    )
    x = 3 * torch.randn(20, 1, generator=seeded())
    evidence = torch.distributions.Normal(0, math.sqrt(4.25)).log_prob(x).squeeze(1)
    for k in (1, 5):
        torch.testing.assert_close(iwae(k=k).compute(Pass(vae, x, 0, seeded())), -evidence)


def test_no_draws_are_refused() -> None:
    with pytest.raises(ValueError):
        iwae(k=0)


def test_parts_of_the_draws_are_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    vae, x = rows(), bits(4)
    whole = iwae(k=7).compute(Pass(vae, x, 0, seeded()))
    monkeypatch.setattr(draws, "CHUNK_VALUES", 100)
    assert draws_per_call(7, x) == 3
    torch.testing.assert_close(iwae(k=7).compute(Pass(vae, x, 0, seeded())), whole)
    monkeypatch.setattr(draws, "CHUNK_VALUES", 1)
    assert draws_per_call(7, x) == 1
    torch.testing.assert_close(iwae(k=7).compute(Pass(vae, x, 0, seeded())), whole)


def test_it_takes_less_of_the_processor_than_a_loop_over_the_draws() -> None:
    vae, x = rows(64), bits(20)

    def seconds(bound: Callable[[], Tensor]) -> float:
        started = time.process_time()
        bound().mean().backward()
        return time.process_time() - started

    ours = min(seconds(lambda: iwae(k=20).compute(Pass(vae, x, 0, seeded()))) for _ in range(7))
    theirs = min(seconds(lambda: one_by_one(vae, x, 20, seeded())) for _ in range(7))
    assert theirs > 1.3 * ours

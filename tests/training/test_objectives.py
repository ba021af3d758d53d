"""The objective: named parts that add up, each equal to its formula."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor

from vaekit.distributions import StandardNormal
from vaekit.metrics.lpips import LPIPS
from vaekit.training.objectives import Losses, PictureObjective
from vaekit.vae import VAE

Draw = Callable[[int, int, Generator], Tensor]


def seeded() -> Generator:
    return Generator().manual_seed(0)


@pytest.fixture
def x(smooth_pictures: Draw) -> Tensor:
    return smooth_pictures(3, 32, seeded())


def losses(vae: VAE, x: Tensor, lpips: LPIPS, beta: float = 1.0, weight: float = 1.0) -> Losses:
    return PictureObjective(StandardNormal(), lpips, beta, weight)(vae, x, seeded())


@pytest.mark.parametrize(("beta", "weight"), [(1.0, 0.0), (0.0, 1.0), (0.05, 0.7), (4.0, 2.0)])
def test_parts_add_up(fresh_vae: Callable[[], VAE], x: Tensor, lpips: LPIPS, beta: float, weight: float) -> None:
    record = losses(fresh_vae(), x, lpips, beta, weight)
    parts = record.parts
    torch.testing.assert_close(record.total, parts["nll"] + beta * parts["kl"] + weight * parts["lpips"])


def test_with_beta_one_it_is_the_elbo_per_dimension(fresh_vae: Callable[[], VAE], x: Tensor, lpips: LPIPS) -> None:
    vae = fresh_vae()
    q = vae.encode(x)
    elbo = vae.likelihood(q.sample(seeded())).log_prob(x) - q.kl(StandardNormal())
    torch.testing.assert_close(losses(vae, x, lpips, 1.0, 0.0).total, -elbo.mean() / (3 * 32 * 32))


def test_each_part_is_its_formula(fresh_vae: Callable[[], VAE], x: Tensor, lpips: LPIPS) -> None:
    vae = fresh_vae()
    parts = losses(vae, x, lpips).parts
    y = vae.decode(vae.encode(x).sample(seeded()))
    l1 = (x - y).abs().mean() / 0.1 + math.log(2 * 0.1)  # Laplace of scale 0.1
    torch.testing.assert_close(parts["nll"], l1)
    torch.testing.assert_close(parts["lpips"], lpips(x, y).mean())
    torch.testing.assert_close(parts["psnr"], 10 * torch.log10(4 / (x - y).square().mean()))
    assert not parts["psnr"].requires_grad


def test_gradients_reach_both_halves_and_not_the_judge(fresh_vae: Callable[[], VAE], x: Tensor, lpips: LPIPS) -> None:
    vae = fresh_vae()
    losses(vae, x, lpips).total.backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in vae.parameters())
    assert all(parameter.grad is None for parameter in lpips.parameters())

"""The posterior of a codec."""

import math

import pytest
import torch

from vaekit.distributions import StandardNormal
from vaekit.distributions.stepped import SteppedUniform, split_step


@pytest.fixture
def posterior() -> SteppedUniform:
    """Two items of three values at four positions, with steps of 1/2 and 2."""
    torch.manual_seed(0)
    values = torch.randn(2, 3, 2, 2)
    log_step = torch.tensor([-1.0, 1.0])[:, None, None, None].expand(2, 1, 2, 2)
    return SteppedUniform(torch.cat([values, log_step], dim=1))


def test_samples_are_uniform_within_half_a_step(posterior: SteppedUniform) -> None:
    generator = torch.Generator().manual_seed(0)
    samples = torch.stack([posterior.sample(generator) for _ in range(2000)])
    values, steps = split_step(samples.flatten(0, 1))
    assert torch.equal(steps[:2], posterior.mean[:, -1:])
    noise = (samples - posterior.mean)[:, :, :3]
    for item, step in enumerate((0.5, 2.0)):
        assert noise[:, item].abs().max() <= step / 2
        assert abs(noise[:, item].var().item() - step**2 / 12) < 0.02 * step**2 / 12
    assert len(values) == 4000


def test_the_density_is_that_of_the_step(posterior: SteppedUniform) -> None:
    z = posterior.sample(torch.Generator().manual_seed(0))
    expected = torch.tensor([12 * math.log(2), -12 * math.log(2)])
    torch.testing.assert_close(posterior.log_prob(z), expected)
    far = z.clone()
    far[0, 0, 0, 0] += 1
    other_step = z.clone()
    other_step[1, 3] += 1
    assert posterior.log_prob(far)[0] == -math.inf
    assert posterior.log_prob(other_step)[1] == -math.inf


def test_the_divergence_is_the_expected_difference_of_densities(posterior: SteppedUniform) -> None:
    prior = StandardNormal()
    z = posterior.sample(torch.Generator().manual_seed(3))
    expected = posterior.log_prob(z) - prior.log_prob(z)
    torch.testing.assert_close(posterior.kl(prior, torch.Generator().manual_seed(3)), expected)


def test_samples_have_gradients() -> None:
    mean = torch.zeros(1, 3, 2, 2, requires_grad=True)
    SteppedUniform(mean).sample(torch.Generator().manual_seed(0))[:, :2].sum().backward()
    assert mean.grad is not None
    assert (mean.grad[:, :2] == 1).all()

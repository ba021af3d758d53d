"""Latents whose statistics are known."""

import math

import pytest
import torch
from torch import Generator, Tensor

from vaekit.distributions import DiagonalGaussian, Point, Quantized, StandardNormal, UniformCodes
from vaekit.metrics.latent.latent_statistics import channel_sums, kl_per_channel, latent_noise, rate
from vaekit.normalization import LatentNormalization
from vaekit.vae import normalize


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(seed))


def test_sums_of_several_latents_are_those_of_all() -> None:
    first, second = noise(2, 4, 8, 6), 3 + 2 * noise(1, 4, 5, 9, seed=1)
    sums = channel_sums(first) + channel_sums(second)
    values = torch.cat([first.transpose(0, 1).flatten(1), second.transpose(0, 1).flatten(1)], dim=1).double()
    torch.testing.assert_close(sums.mean, values.mean(dim=1))
    torch.testing.assert_close(sums.std, values.std(dim=1, correction=0))
    assert sums.shares.sum().item() == pytest.approx(1)


def test_latents_in_a_right_normalization_have_mean_0_and_deviation_1() -> None:
    raw = 2 + 5 * noise(1, 4, 64, 64)
    sums = channel_sums(normalize(raw, LatentNormalization(shift=(2.0,), scale=(0.2,))))
    torch.testing.assert_close(sums.mean, torch.zeros(4).double(), atol=0.06, rtol=0)
    torch.testing.assert_close(sums.std, torch.ones(4).double(), atol=0.06, rtol=0)


def test_dead_and_dominant_channels() -> None:
    spread = torch.tensor([1.0, 0.01, 1.0, 5.0]).view(1, 4, 1, 1)
    sums = channel_sums(spread * noise(1, 4, 32, 32) + 7)
    assert sums.dead == (1,)
    assert sums.dominant == (3,)
    even = channel_sums(noise(1, 4, 32, 32))
    assert even.dead == even.dominant == ()
    assert channel_sums(noise(1, 1, 32, 32)).dominant == ()


def test_latents_that_never_vary() -> None:
    sums = channel_sums(torch.ones(1, 3, 4, 4))
    assert sums.std.tolist() == [0, 0, 0]
    assert sums.dead == sums.dominant == ()


def test_the_rate_of_a_gaussian_in_nats_and_bits() -> None:
    q = DiagonalGaussian(noise(2, 4, 8, 8), noise(2, 4, 8, 8, seed=1))
    found = rate(q, StandardNormal(), 64 * 64)
    torch.testing.assert_close(found.nats, q.kl(StandardNormal()))
    torch.testing.assert_close(found.bits_per_pixel * 64 * 64, found.nats / math.log(2))
    torch.testing.assert_close(found.bits_per_latent * 4 * 8 * 8, found.nats / math.log(2))
    torch.testing.assert_close(kl_per_channel(q).sum(dim=1) * 64, found.nats)


def test_the_rate_of_codes_is_what_they_cost() -> None:
    embedded = noise(1, 4, 8, 8)
    q = Quantized(embedded, torch.zeros(1, 8, 8, dtype=torch.long), embedded)
    found = rate(q, UniformCodes(1024), 64 * 64)
    assert found.bits_per_pixel.item() == pytest.approx(10 / 64)


def test_a_points_number_is_its_cross_entropy() -> None:
    z = noise(1, 4, 8, 8)
    assert rate(Point(z), StandardNormal(), 4096).nats.item() == pytest.approx(-StandardNormal().log_prob(z).item())


def test_a_latent_vector_has_statistics_and_no_spectrum() -> None:
    z = noise(3, 10, 1, 1)
    assert channel_sums(z).count == 3
    assert latent_noise(z).isnan().all()


def smooth(exponent: float, side: int = 64) -> Tensor:
    frequency = (torch.fft.fftfreq(side)[:, None].square() + torch.fft.rfftfreq(side).square()).sqrt()
    frequency[0, 0] = math.inf
    return torch.fft.irfft2(torch.fft.rfft2(noise(1, 4, side, side)) * frequency**-exponent, s=(side, side))


def test_latent_noise_is_the_share_that_theory_says() -> None:
    # Of a square of frequencies, all but a circle of radius 1/4.
    assert latent_noise(noise(4, 4, 96, 64)).mean().item() == pytest.approx(1 - math.pi / 16, abs=0.02)
    low = torch.cos(2 * math.pi * 3 / 32 * torch.arange(64.0)).expand(1, 1, 64, 64)
    high = torch.cos(2 * math.pi * 12 / 32 * torch.arange(64.0)).expand(1, 1, 64, 64)
    assert latent_noise(low).item() < 1e-3
    assert latent_noise(high).item() > 0.999
    assert latent_noise(2 * low + high).item() == pytest.approx(0.2, abs=0.01)


def test_smoother_latents_have_less_noise_at_any_scale_and_place() -> None:
    shares = [latent_noise(smooth(exponent)).item() for exponent in (0, 0.5, 1, 2)]
    assert shares == sorted(shares, reverse=True)
    assert shares[2] == pytest.approx(0.25, abs=0.03)
    z = smooth(1)
    assert latent_noise(100 * z + 5).item() == pytest.approx(latent_noise(z).item(), rel=1e-3)


def test_a_channel_that_never_varies_is_left_out() -> None:
    z = noise(1, 4, 32, 32)
    z[:, 1] = 0.3
    alive = latent_noise(z[:, [0, 2, 3]])
    torch.testing.assert_close(latent_noise(z), alive)
    assert latent_noise(torch.full((1, 2, 16, 16), 0.7)).isnan().all()

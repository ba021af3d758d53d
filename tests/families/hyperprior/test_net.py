"""The nets of codecs: what one VAE of all qualities promises."""

import math

import pytest
import torch
from family_examples import EXAMPLES

from vaekit.distributions.stepped import SteppedUniform, split_step
from vaekit.families import assemble, family_of
from vaekit.nets.transform_coding import COARSEST, FINEST, Encoder, log_step_of
from vaekit.training.init_transform import init_transform
from vaekit.vae import VAE


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Smooth colors, (64, 3, 64, 64)."""
    torch.manual_seed(0)
    return torch.nn.functional.interpolate(torch.rand(64, 3, 8, 8) * 2 - 1, size=64, mode="bicubic").clamp(-1, 1)


@pytest.fixture(scope="module")
def vae(images: torch.Tensor) -> VAE:
    torch.manual_seed(0)
    vae = assemble(family_of("hyperprior"), EXAMPLES["hyperprior"])
    init_transform(vae.encoder, vae.decoder, vae.to_prior, images)  # type: ignore[arg-type]
    return vae.eval()


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return 10 * math.log10(4 / (a - b).square().mean().item())


@torch.no_grad()
def test_it_starts_as_an_orthonormal_transform(vae: VAE, images: torch.Tensor) -> None:
    values, _ = split_step(vae.encode(images).mean)
    centered = images - images.mean(dim=(0, 2, 3), keepdim=True)
    decoded = vae.decode(vae.encode(images).mean)
    lost = (images - decoded).square().sum()
    torch.testing.assert_close(values.square().sum() + lost, centered.square().sum(), rtol=1e-3, atol=0)
    assert (values.flatten(2).mean(dim=(0, 2)).abs() < 0.2 * values.std()).all()
    covariance = torch.cov(values.movedim(1, 0).flatten(1))
    scale = covariance.diagonal().sqrt()
    assert ((covariance / scale / scale[:, None]).fill_diagonal_(0).abs() < 0.05).all(), "components do not correlate"


@torch.no_grad()
def test_the_step_is_in_the_latents_and_in_the_likelihood(vae: VAE, images: torch.Tensor) -> None:
    assert isinstance(vae.encoder, Encoder)
    for quality in (0.0, 40.0, 100.0):
        vae.encoder.log_step.fill_(log_step_of(quality))
        posterior = vae.encode(images[:2])
        assert isinstance(posterior, SteppedUniform)
        step = 2 ** log_step_of(quality)
        assert torch.equal(posterior.mean[:, -1:], torch.full((2, 1, 4, 4), log_step_of(quality)))
        likelihood = vae.likelihood(posterior.mean)
        torch.testing.assert_close(likelihood.scale, torch.full((2, 1, 64, 64), step / 12**0.5), rtol=1e-4, atol=0)  # type: ignore[attr-defined]


@torch.no_grad()
def test_finer_steps_take_more_nats_and_lose_less(vae: VAE, images: torch.Tensor) -> None:
    assert isinstance(vae.encoder, Encoder)
    rates, losses = [], []
    for quality in (0.0, 50.0, 100.0):
        vae.encoder.log_step.fill_(log_step_of(quality))
        posterior, prior = vae.encode(images), vae.prior
        assert prior is not None
        rates.append(posterior.kl(prior, torch.Generator().manual_seed(0)).mean().item())
        losses.append(psnr(images, vae.decode(posterior.sample(torch.Generator().manual_seed(0)))))
    assert rates == sorted(rates)
    assert losses == sorted(losses)


def test_batches_of_a_training_have_steps_at_random(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    vae = assemble(family_of("hyperprior"), EXAMPLES["hyperprior"]).train()
    steps = torch.stack([split_step(vae.encode(images[:3]).mean)[1] for _ in range(50)])
    assert (steps == steps[:, :1, :, :1, :1]).all(), "one for a batch"
    assert (steps.min() >= FINEST) and (steps.max() <= COARSEST)
    assert steps[:, 0, 0, 0, 0].unique().numel() == 50


def test_a_step_of_training_has_gradients_for_all_weights(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    vae = assemble(family_of("hyperprior"), EXAMPLES["hyperprior"]).train()
    for each in vae.parameters():  # the last layers of blocks and slices start at zero, and hide those before them
        torch.nn.init.normal_(each, std=0.05)
    posterior, prior = vae.encode(images[:2]), vae.prior
    assert prior is not None
    z = posterior.sample()
    (posterior.kl(prior).mean() - vae.likelihood(z).log_prob(images[:2]).mean()).backward()
    assert all(each.grad is not None and each.grad.abs().sum() > 0 for each in vae.parameters())

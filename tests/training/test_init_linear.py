"""From a linear start, images and colors are about right before the first training step."""

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.families.kl.net import KLConfig, build
from vaekit.metrics.image.color import color_shift
from vaekit.metrics.image.psnr import psnr
from vaekit.training.init_linear import as_depth, init_linear, principal_components
from vaekit.vae import VAE

CONFIG = KLConfig(
    image_channels=3,
    latent_channels=4,
    hidden_channels=4,
    encoder_widths=(32, 64, 128, 128),
    decoder_widths=(32, 64, 128, 128),
    encoder_blocks=1,
    decoder_blocks=1,
    encoder_attention=(),
    decoder_attention=(),
    mid_attention=True,
    quant_conv=True,
    post_quant_conv=True,
    norm_groups=8,
)

Draw = Callable[[int, int, Generator], Tensor]


def blocks_of(images: Tensor, size: int) -> Tensor:
    """Cut into blocks, (n, 3, size, size)."""
    cut = F.unfold(images, size, stride=size)
    return cut.transpose(1, 2).reshape(-1, 3, size, size)


@pytest.fixture(scope="module")
def images(smooth_images: Draw) -> Tensor:
    """Not those that the components are taken from."""
    return smooth_images(4, 64, Generator().manual_seed(1))


def random_vae() -> VAE:
    torch.manual_seed(0)
    encoder, decoder = build(CONFIG)
    return VAE(encoder, DiagonalGaussian.from_moments, decoder, Laplace).eval()


@pytest.fixture(scope="module")
def started(smooth_images: Draw) -> VAE:
    vae = random_vae()
    init_linear(vae.encoder, vae.decoder, blocks_of(smooth_images(16, 64, Generator().manual_seed(0)), 8))
    return vae


@torch.no_grad()
def test_images_come_back_before_any_training(started: VAE, images: Tensor) -> None:
    y = started.reconstruct(images)
    assert (psnr(images, y) > 20).all()
    assert (color_shift(images, y).abs() < 10).all()


@torch.no_grad()
def test_a_random_start_is_far_worse(started: VAE, images: Tensor) -> None:
    random = psnr(images, random_vae().reconstruct(images))
    assert (psnr(images, started.reconstruct(images)) > random + 8).all()


@torch.no_grad()
def test_pure_colors_keep_their_hue(started: VAE) -> None:
    colors = torch.eye(3)[:, :, None, None] - 0.5
    y = started.reconstruct(colors.expand(3, 3, 32, 32))[:, :, 8:24, 8:24].mean(dim=(2, 3))
    assert y.argmax(dim=1).tolist() == [0, 1, 2]


@torch.no_grad()
def test_latents_begin_with_unit_spread_and_little_noise(started: VAE, images: Tensor) -> None:
    q = started.encode(images)
    assert isinstance(q, DiagonalGaussian)
    assert ((q.mean.std(dim=(0, 2, 3)) > 0.3) & (q.mean.std(dim=(0, 2, 3)) < 3)).all()
    assert ((q.std > 0.02) & (q.std < 0.3)).all()


def test_every_weight_can_be_trained(started: VAE, images: Tensor) -> None:
    q = started.encode(images)
    (-started.likelihood(q.sample(Generator().manual_seed(0))).log_prob(images)).sum().backward()
    gradients = [parameter.grad for parameter in started.parameters()]
    started.zero_grad(set_to_none=True)
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_components_are_orthogonal_with_projections_of_unit_variance(smooth_images: Draw) -> None:
    blocks = blocks_of(smooth_images(16, 64, Generator().manual_seed(0)), 8)
    mean, components = principal_components(blocks, 4)
    projections = (blocks - mean).flatten(1) @ components.flatten(1).T
    torch.testing.assert_close(torch.cov(projections.T), torch.eye(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(mean, blocks.mean(dim=0))


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_filters_as_depth_see_the_same_pixels(depth: int) -> None:
    generator = Generator().manual_seed(0)
    filters, block = torch.randn(5, 3, 8, 8, generator=generator), torch.randn(1, 3, 8, 8, generator=generator)
    deep = block
    for _ in range(depth):
        deep = F.pixel_unshuffle(deep, 2)
    torch.testing.assert_close(F.conv2d(deep, as_depth(filters, depth)), F.conv2d(block, filters), atol=1e-4, rtol=0)

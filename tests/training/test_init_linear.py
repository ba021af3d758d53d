"""From a linear start, images and colors are about right before the first training step."""

from collections.abc import Callable
from dataclasses import asdict, replace
from random import Random
from typing import Any

import pytest
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.errors import BadRecipe
from vaekit.families.kl.net import KLConfig, build
from vaekit.metrics.image.color import color_shift
from vaekit.metrics.image.psnr import psnr
from vaekit.training.data import Stream, Tensors
from vaekit.training.init_linear import as_depth, init_linear, principal_components
from vaekit.training.initialize import initializer_for
from vaekit.training.recipe import Recipe
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


def config_of(random: Random) -> KLConfig:
    """A random small config."""
    groups, levels, latents = random.choice([2, 3, 4, 4]), random.choice([1, 2, 2, 3]), random.choice([1, 3, 4, 6])
    widths = [tuple(groups * random.choice([2, 4, 8, 12, 16, 24]) for _ in range(levels)) for _ in range(2)]
    changes = {"latent_channels": latents, "hidden_channels": latents, "norm_groups": groups, "mid_attention": False}
    return replace(CONFIG, encoder_widths=widths[0], decoder_widths=widths[1], **changes)


@torch.no_grad()
def test_nets_that_are_too_small_are_refused_and_others_begin_near_the_mean_color() -> None:
    """Every config is refused or gives about the mean color of blocks: there is no other error."""
    random, refused, started = Random(0), 0, 0
    colors = torch.rand(8, 3, 1, 1, generator=Generator().manual_seed(0)) * 1.6 - 0.8
    images = colors.expand(8, 3, 32, 32)
    for _ in range(150):
        config = config_of(random)
        factor = 2 ** (len(config.encoder_widths) - 1)
        torch.manual_seed(0)
        encoder, decoder = build(config)
        noisy = images + 0.1 * torch.randn(images.shape, generator=Generator().manual_seed(1))
        try:
            init_linear(encoder, decoder, blocks_of(noisy, factor))
        except ValueError:
            refused += 1
            continue
        started += 1
        if config.latent_channels >= 3:  # enough for all colors
            vae = VAE(encoder, DiagonalGaussian.from_moments, decoder, Laplace).eval()
            errors = (vae.reconstruct(images) - images)[:, :, 8:24, 8:24].mean(dim=(2, 3)).abs()
            assert errors.mean() < 0.35, config
    assert refused > 20 and started > 20


@pytest.mark.parametrize(
    "changes",
    [
        {"encoder_widths": [4, 4, 4]},
        {"encoder_widths": [8, 16, 32]},
        {"decoder_widths": [16, 16, 16]},
        {"decoder_widths": [8, 16, 16]},
        {"encoder_widths": [16], "decoder_widths": [16]},
        {"latent_channels": 40, "hidden_channels": 40},
        {"image_channels": 1},
    ],
)
def test_a_recipe_with_too_few_channels_is_refused(changes: dict[str, Any]) -> None:
    vae = {"family": "kl", **asdict(CONFIG), "encoder_widths": [16, 48, 48], "decoder_widths": [16, 32, 32]}
    vae |= {"norm_groups": 4, "mid_attention": False}
    del vae["padding"]
    small = Recipe("small", {"start": "linear", "vae": vae})
    stream = Stream(Tensors(torch.rand(64, 3, 16, 16) * 2 - 1), 0)
    initialize = initializer_for(small, stream)
    assert initialize is not None
    initialize(small.vae())
    other = Recipe("small", {"start": "linear", "vae": vae | changes})
    refused = initializer_for(other, stream)
    assert refused is not None
    with pytest.raises(BadRecipe):
        refused(other.vae())


@torch.no_grad()
def test_images_of_one_color_give_finite_weights() -> None:
    vae = random_vae()
    init_linear(vae.encoder, vae.decoder, torch.full((50, 3, 8, 8), 0.25))
    assert vae.reconstruct(torch.full((1, 3, 32, 32), 0.25)).isfinite().all()

"""The linear map from latents to colors."""

import torch
from torch.nn import functional as F

from vaekit.latents.preview import LatentColors, calmed


def test_a_linear_decoder_is_found() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = 0.1 * torch.randn(5, 3, generator=generator)
    z = torch.randn(2, 5, 8, 6, generator=generator)
    averages = torch.einsum("bzij,zc->bcij", z, weights) + 0.2
    images = F.interpolate(averages, scale_factor=4, mode="nearest")
    colors = LatentColors.fit(z, images)
    assert torch.allclose(colors.weights, weights, atol=1e-3)
    assert torch.allclose(colors(z), averages.clamp(-1, 1), atol=1e-3)


def test_channels_that_are_constant_or_repeat_others() -> None:
    z = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    z = torch.cat([z, z[:, :1], torch.full_like(z[:, :1], 3.0)], dim=1)
    colors = LatentColors.fit(z, z[:, :1].expand(-1, 3, -1, -1) / 4)
    assert (colors(z) - z[:, :1] / 4).abs().max() < 0.01


def test_constant_latents_give_the_mean_color() -> None:
    colors = LatentColors.fit(torch.ones(1, 4, 2, 2), torch.full((1, 3, 8, 8), 0.5))
    assert torch.allclose(colors(torch.zeros(1, 4, 3, 3)), torch.full((1, 3, 3, 3), 0.5), atol=1e-6)


def test_colors_after_a_normalization() -> None:
    generator = torch.Generator().manual_seed(0)
    colors = LatentColors(0.1 * torch.randn(4, 3, generator=generator), torch.tensor([0.1, 0.0, -0.1]))
    scale, shift = torch.tensor([0.5, 2.0, 1.0, 0.1]), torch.tensor([1.0, 0.0, -1.0, 0.5])
    raw = torch.randn(1, 4, 5, 5, generator=generator)
    normalized = (raw - shift[:, None, None]) * scale[:, None, None]
    assert torch.allclose(colors.after(scale, shift)(raw), colors(normalized), atol=1e-6)


def test_noisy_latents_are_calmed_one_by_one() -> None:
    z = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)) * torch.tensor([10.0, 0.5]).view(2, 1, 1, 1)
    calm = calmed(z)
    assert torch.allclose(calm[0].std(), torch.tensor(1.0))
    assert torch.equal(calm[1], z[1])

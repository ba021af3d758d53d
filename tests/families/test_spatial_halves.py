"""Halves with spatially adaptive norms; parity with diffusers is tested with the families that have them."""

import torch
from torch import nn

from vaekit.families.kvae.net import SpatialNorm
from vaekit.families.levels import LevelsConfig
from vaekit.families.spatial_halves import Decoder, Encoder, conv3x3, spatial_norm

CONFIG = LevelsConfig(3, 4, (8, 16), (16, 8), 1, 2)


def norm(channels: int) -> nn.Module:
    return nn.GroupNorm(2, channels)


@torch.no_grad()
def test_a_spatial_norm_scales_and_shifts_by_the_latent() -> None:
    torch.manual_seed(0)
    adaptive = spatial_norm(norm, 4, enlarge=2)(32)
    assert isinstance(adaptive, SpatialNorm)
    x, z = torch.randn(1, 32, 4, 6), torch.randn(1, 4, 2, 3)
    nearest = z.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(
        adaptive(x, z), adaptive.norm_layer(x) * adaptive.conv_y(nearest) + adaptive.conv_b(nearest)
    )
    assert adaptive.conv_y.weight.shape == (32, 4, 1, 1, 1)


@torch.no_grad()
def test_shapes_follow_from_the_resamplers() -> None:
    encoder = Encoder(CONFIG, norm, (8, 8), [nn.AvgPool2d(2)])
    decoder = Decoder(CONFIG, norm, [nn.Upsample(scale_factor=2)])
    moments = encoder(torch.randn(1, 3, 4, 6))
    assert moments.shape == (1, 8, 2, 3)
    assert decoder(moments[:, :4]).shape == (1, 3, 4, 6)
    assert conv3x3(3, 5)(torch.randn(1, 3, 4, 6)).shape == (1, 5, 4, 6)

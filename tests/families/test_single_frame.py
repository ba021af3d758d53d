"""Layers over frames that are all equal."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from vaekit.families.single_frame import (
    MODES,
    Attention,
    Level,
    Middle,
    Padding,
    RepeatedFrameConv,
    ResidualBlock,
    run_levels,
)


def norm(channels: int) -> nn.Module:
    return nn.GroupNorm(2, channels)


@torch.no_grad()
@pytest.mark.parametrize("padding", MODES)
@pytest.mark.parametrize("stride", [1, 2])
def test_the_slices_of_a_kernel_add_up(padding: Padding, stride: int) -> None:
    """A causal convolution and a symmetric one see the same: three equal frames."""
    torch.manual_seed(0)
    layer = RepeatedFrameConv(3, 5, padding=padding, stride=stride)
    x = torch.randn(2, 3, 6, 8)
    frames = F.pad(x, (1, 1, 1, 1), MODES[padding]).unsqueeze(2)
    video = torch.cat([frames] * 3, dim=2)
    expected = F.conv3d(video, layer.weight, layer.bias, stride=(1, stride, stride))
    torch.testing.assert_close(layer(x), expected.squeeze(2))


def test_every_slice_is_trained() -> None:
    layer = RepeatedFrameConv(3, 5)
    layer(torch.randn(1, 3, 4, 4)).sum().backward()
    gradient = layer.weight.grad
    assert gradient is not None
    assert all(torch.equal(gradient[:, :, 0], gradient[:, :, i]) for i in (1, 2))
    assert gradient.abs().max() > 0


@torch.no_grad()
def test_a_block_has_a_shortcut_where_the_width_changes() -> None:
    x = torch.randn(1, 4, 5, 5)
    same, wider = ResidualBlock(4, 4, norm), ResidualBlock(4, 6, norm)
    for block in (same, wider):
        nn.init.zeros_(block.conv2.weight)
        nn.init.zeros_(block.conv2.bias)
    torch.testing.assert_close(same(x), x)
    torch.testing.assert_close(wider(x), wider.nin_shortcut(x))


@torch.no_grad()
def test_attention_averages_values_by_similarity() -> None:
    torch.manual_seed(0)
    layer = Attention(4, norm, nn.Conv2d)
    x = torch.randn(1, 4, 3, 2)
    q, k, v = (each(layer.norm(x)).flatten(2) for each in (layer.q, layer.k, layer.v))
    weights = (q.transpose(1, 2) @ k / 2).softmax(-1)
    mixed = (v @ weights.transpose(1, 2)).view(x.shape)
    torch.testing.assert_close(layer(x), x + layer.proj_out(mixed))


@torch.no_grad()
def test_levels_run_in_order() -> None:
    torch.manual_seed(0)
    levels = [Level(4, 6, 2, norm, nn.MaxPool2d(2)), Level(6, 4, 1, norm, None, "zeros")]
    x = torch.randn(1, 4, 4, 4)
    blocks = [*levels[0].block, levels[0].resample, *levels[1].block]
    assert len(blocks) == 4
    middle = Middle(4, norm)
    torch.testing.assert_close(middle(run_levels(levels, x)), nn.Sequential(*blocks, middle.block_1, middle.block_2)(x))

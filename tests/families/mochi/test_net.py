"""Parity with diffusers' AutoencoderKLMochi on one frame, and the pieces of the network."""

import math
from pathlib import Path

import pytest
import torch
from one_frame import check_engine, check_equal
from torch import nn
from torch.nn import functional as F

from vaekit import load
from vaekit.families.mochi.net import FramesConv, MochiConfig, TimeAttention, UpLevel, fourier_features

CONFIG = MochiConfig(
    3, 4, (32, 64, 32), (1, 2, 1, 1), (False, True, False, True), (96, 64, 32), (1, 1, 2, 1), ((1, 2), (3, 2))
)


@pytest.mark.parametrize("size", [(32, 32), (72, 40)])
def test_equal_to_diffusers_on_one_frame(pair: tuple[nn.Module, Path], size: tuple[int, int]) -> None:
    theirs, folder = pair
    check_equal(load(folder), theirs, *size)


def test_the_engine_in_the_least_memory_equals_diffusers(pair: tuple[nn.Module, Path]) -> None:
    theirs, folder = pair
    check_engine(load(folder), theirs, 72, 40)


@torch.no_grad()
@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_convolution_over_a_list_of_frames_is_causal(count: int) -> None:
    torch.manual_seed(0)
    layer = FramesConv(3, 5)
    frames = [torch.randn(1, 3, 4, 6) for _ in range(count)]
    video = F.pad(torch.stack(frames, dim=2), (1, 1, 1, 1, 2, 0), "replicate")
    expected = F.conv3d(video, layer.weight, layer.bias).unbind(2)
    for ours, theirs in zip(layer.over(frames), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@torch.no_grad()
def test_frames_come_out_of_channels_slower_than_pixels() -> None:
    level = UpLevel(32, 1, 0, (3, 2))
    nn.init.zeros_(level.proj.weight)
    assert level.proj.bias is not None
    level.proj.bias.copy_(torch.arange(12.0))
    frames = level([torch.zeros(1, 32, 1, 1)])
    assert [frame.flatten().tolist() for frame in frames] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


@torch.no_grad()
def test_pixels_are_followed_by_their_sines_and_cosines() -> None:
    x = torch.tensor([0.1, -0.3]).view(1, 2, 1, 1)
    features = fourier_features(x).flatten()
    angles = [value * 2**octave * 2 * math.pi for value in x.flatten().tolist() for octave in (6, 7)]
    expected = torch.tensor([0.1, -0.3, *map(math.sin, angles), *map(math.cos, angles)])
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-4)


@torch.no_grad()
def test_queries_and_keys_of_one_frame_have_no_effect() -> None:
    torch.manual_seed(0)
    layer, x = TimeAttention(32), torch.randn(1, 32, 2, 2)
    before = layer(x)
    nn.init.normal_(layer.q.weight)
    nn.init.normal_(layer.k.weight)
    assert torch.equal(layer(x), before)


def test_the_geometry_of_a_config() -> None:
    assert (CONFIG.geometry.factors, CONFIG.blocks) == ((4, 4), 5)

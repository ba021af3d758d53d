"""Parity with diffusers' LTX autoencoders on one frame, and the pieces of the network."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from one_frame import check_engine, check_equal
from torch import nn
from torch.nn import functional as F

from vaekit import load
from vaekit.families.ltx.net import ChannelNorm, LTXConfig, into_channels, normalized, out_of_channels

ALL = "spatiotemporal"
CONFIG = LTXConfig(
    3, 4, (4, 8, 8, 16), (1, 1, 2, 1), ("spatial", "temporal", ALL), (16, 8, 4), (1, 1, 1), (ALL, ALL), True, "reflect"
)


@pytest.mark.parametrize("size", [(64, 64), (96, 128)])
def test_equal_to_diffusers_on_one_frame(pair: tuple[nn.Module, Path], size: tuple[int, int]) -> None:
    theirs, folder = pair
    check_equal(load(folder), theirs, *size)


def test_the_engine_in_the_least_memory_equals_diffusers(pair: tuple[nn.Module, Path]) -> None:
    theirs, folder = pair
    check_engine(load(folder), theirs, 256, 64)


@torch.no_grad()
def test_norms_are_over_the_channels_of_a_position() -> None:
    torch.manual_seed(0)
    x, norm = torch.randn(2, 6, 3, 4), ChannelNorm(6)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    expected = F.layer_norm(x.movedim(1, -1), (6,), norm.weight, norm.bias, eps=1e-6).movedim(-1, 1)
    torch.testing.assert_close(norm(x), expected)
    torch.testing.assert_close(normalized(x), F.rms_norm(x.movedim(1, -1), (6,), eps=1e-8).movedim(-1, 1))
    assert normalized(torch.full((1, 8, 1, 1), 500.0).half()).isfinite().all()


@pytest.mark.parametrize("time", [1, 2])
@pytest.mark.parametrize("space", [1, 2])
def test_frames_are_slower_than_pixels_among_the_channels(time: int, space: int) -> None:
    x = torch.arange(2 * 3 * 4 * 6.0).view(2, 3, 4, 6)
    packed = into_channels(x, time, space)
    assert packed.shape == (2, 3 * time * space**2, 4 // space, 6 // space)
    assert torch.equal(packed[:, 0], x[:, 0, ::space, ::space])
    assert torch.equal(out_of_channels(packed, time, space), x)


def test_the_geometry_of_a_config() -> None:
    assert (CONFIG.geometry.factors, CONFIG.blocks) == ((16, 16), 5)
    assert (CONFIG.geometry.least_positions, replace(CONFIG, decoder_padding="zeros").geometry.least_positions) == (
        2,
        1,
    )

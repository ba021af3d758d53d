"""Parity with diffusers' Kandinsky6SRVAE on one frame."""

from pathlib import Path

import pytest
import torch
from one_frame import check_engine, check_equal
from torch import nn

from vaekit import load
from vaekit.families.kandinsky6_sr.net import Downsample, Upsample


@pytest.mark.parametrize("size", [(32, 32), (72, 40)])
def test_equal_to_diffusers_on_one_frame(pair: tuple[nn.Module, Path], size: tuple[int, int]) -> None:
    theirs, folder = pair
    check_equal(load(folder), theirs, *size)


def test_the_engine_in_the_least_memory_equals_diffusers(pair: tuple[nn.Module, Path]) -> None:
    theirs, folder = pair
    check_engine(load(folder), theirs, 136, 40)


@torch.no_grad()
def test_levels_in_time_add_convolutions_to_the_frame() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 4, 4, 6)
    down, up = Downsample(4, time=True), Upsample(4, time=True)
    for layer in (*down.temporal_conv, up.temporal_conv):
        assert layer is not None
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    plain_down, plain_up = Downsample(4, time=False), Upsample(4, time=False)
    plain_down.load_state_dict({k: v for k, v in down.state_dict().items() if "temporal" not in k})
    plain_up.load_state_dict({k: v for k, v in up.state_dict().items() if "temporal" not in k})
    torch.testing.assert_close(down(x), plain_down(x))
    torch.testing.assert_close(up(x), plain_up(x))
    assert (down(x).shape, up(x).shape) == ((1, 8, 2, 3), (1, 4, 8, 12))

"""Parity with diffusers' AutoencoderKLCogVideoX on one frame."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from one_frame import check_engine, check_equal
from torch import nn

from vaekit import load
from vaekit.families.cogvideox.net import CogVideoXConfig, spatial_norm
from vaekit.families.kvae.net import SpatialNorm

CONFIG = CogVideoXConfig(3, 4, (32, 64, 64), (64, 64, 32), 1, 2)


@pytest.mark.parametrize("size", [(32, 32), (72, 40)])
def test_equal_to_diffusers_on_one_frame(pair: tuple[nn.Module, Path], size: tuple[int, int]) -> None:
    theirs, folder = pair
    check_equal(load(folder), theirs, *size)


def test_the_engine_in_the_least_memory_equals_diffusers(pair: tuple[nn.Module, Path]) -> None:
    theirs, folder = pair
    check_engine(load(folder), theirs, 136, 40)


def test_the_geometry_of_a_config() -> None:
    assert (CONFIG.geometry.factors, CONFIG.blocks) == ((4, 4), 6)
    assert replace(CONFIG, encoder_blocks=3).blocks == 9


@torch.no_grad()
def test_a_spatial_norm_scales_and_shifts_by_the_latent() -> None:
    torch.manual_seed(0)
    norm = spatial_norm(4, enlarge=2)(32)
    assert isinstance(norm, SpatialNorm)
    x, z = torch.randn(1, 32, 4, 6), torch.randn(1, 4, 2, 3)
    nearest = z.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(norm(x, z), norm.norm_layer(x) * norm.conv_y(nearest) + norm.conv_b(nearest))
    assert norm.conv_y.weight.shape == (32, 4, 1, 1, 1)

"""Parity with diffusers' classes on one frame."""

from dataclasses import replace
from pathlib import Path

import pytest
from one_frame import check_engine, check_equal
from torch import nn

from vaekit import load
from vaekit.families.hunyuan_video15.net import HunyuanVideo15Config

CONFIG = HunyuanVideo15Config(3, 4, (8, 16, 16), (16, 16, 8), 1, 2, (1,), (0,))


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

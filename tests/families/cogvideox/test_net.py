"""Parity with diffusers' AutoencoderKLCogVideoX on one frame."""

from pathlib import Path

import pytest
from one_frame import check_engine, check_equal
from torch import nn

from vaekit import load


@pytest.mark.parametrize("size", [(32, 32), (72, 40)])
def test_equal_to_diffusers_on_one_frame(pair: tuple[nn.Module, Path], size: tuple[int, int]) -> None:
    theirs, folder = pair
    check_equal(load(folder), theirs, *size)


def test_the_engine_in_the_least_memory_equals_diffusers(pair: tuple[nn.Module, Path]) -> None:
    theirs, folder = pair
    check_engine(load(folder), theirs, 72, 40)

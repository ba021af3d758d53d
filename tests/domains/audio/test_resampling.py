"""Resampling."""

import math

import pytest
import torch
from small_audio import tone

from vaekit.domains.audio.resampling import Resampler

PAIRS = [(44_100, 8_000), (8_000, 44_100), (48_000, 16_000), (8_000, 7_999), (96_000, 44_100), (3, 2)]


@pytest.mark.parametrize(("source", "target"), PAIRS)
@pytest.mark.parametrize("samples", [1, 2, 1000, 4001])
def test_lengths_are_exact_both_ways(source: int, target: int, samples: int) -> None:
    there, back = Resampler(source, target), Resampler(target, source)
    assert there.length(samples) == math.ceil(samples * target / source)
    assert back.length(there.length(samples)) >= samples
    assert there(torch.ones(2, samples)).shape == (2, there.length(samples))


@pytest.mark.parametrize(("source", "target"), [pair for pair in PAIRS if pair[0] > 1000])
def test_tones_and_constants_are_kept(source: int, target: int) -> None:
    x = tone(source // 2, source, frequency=440.0)
    middle = slice(target // 8, target // 4)
    whole = Resampler(source, target)(x)
    assert (whole - tone(target, target)[:, : whole.shape[1]])[:, middle].abs().max() < 1e-4
    constant = Resampler(source, target)(torch.full((1, source // 2), 0.5))[:, middle]
    assert (constant - 0.5).abs().max() < 1e-4


def test_frequencies_that_the_target_cannot_hold_vanish() -> None:
    x = tone(44_100, 44_100, frequency=5_000.0)
    assert Resampler(44_100, 8_000)(x)[:, 1000:-1000].abs().max() < 1e-5


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_ranges_are_those_of_the_whole(source: int, target: int) -> None:
    x = torch.randn(2, 5000, generator=torch.Generator().manual_seed(0))
    resampler = Resampler(source, target)
    whole = resampler(x)
    for start, stop in ((0, 1), (17, 400), (whole.shape[1] - 5, whole.shape[1])):
        part = resampler.range(lambda first, last: x[:, first:last], 5000, start, stop)
        assert torch.allclose(part, whole[:, start:stop], atol=1e-6)

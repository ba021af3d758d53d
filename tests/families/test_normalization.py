"""Normalizations in diffusers' configs, and in tensors beside the weights."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refuses

from vaekit.errors import WrongTensors
from vaekit.families.normalization import (
    BATCH_NORM,
    COUNT,
    EPSILON,
    LATENTS_MEAN,
    LATENTS_STD,
    MEAN,
    VARIANCE,
    diffusers_normalization,
    mean_and_std,
    normalization_of,
    normalization_of_settings,
    normalization_of_vectors,
    one_factor,
    statistics_of,
    vectors_of,
)
from vaekit.normalization import LatentNormalization

values = st.floats(0, 2.0**20, width=32)


@settings(deadline=None)
@given(st.lists(st.tuples(values, values), min_size=4, max_size=4))
def test_statistics_and_normalizations_are_two_forms_of_one_thing(pairs: list[tuple[float, float]]) -> None:
    mean, variance = torch.tensor(pairs).T
    normalization = normalization_of(mean, variance, EPSILON)
    back = statistics_of(normalization, 1)
    assert torch.equal(back[MEAN], mean)
    torch.testing.assert_close(back[VARIANCE], variance, rtol=0, atol=1e-19)
    if (variance > 1e-10).all():
        assert torch.equal(back[VARIANCE], variance)


@pytest.mark.parametrize(
    "normalization",
    [
        None,
        LatentNormalization(),
        LatentNormalization((0.0,), (-1.0,), 2),
        LatentNormalization((0.0,), (1000.0,), 2),
        LatentNormalization(patch=4),
    ],
)
def test_normalizations_that_no_batch_norm_has(normalization: LatentNormalization | None) -> None:
    assert statistics_of(normalization, 4) == {}


SD1 = LatentNormalization((0.0,), (0.18215,))
FLUX = LatentNormalization((0.1159,), (0.3611,))
BY_CHANNEL = LatentNormalization((1.0, -2.0), (0.5, 0.25))
SETTINGS: list[tuple[LatentNormalization | None, dict[str, Any]]] = [
    (None, {"scaling_factor": None}),
    (SD1, {"scaling_factor": 0.18215, "shift_factor": None}),
    (FLUX, {"scaling_factor": 0.3611, "shift_factor": 0.1159}),
    (BY_CHANNEL, {"scaling_factor": 1.0, "latents_mean": [1.0, -2.0], "latents_std": [2.0, 4.0]}),
]


@pytest.mark.parametrize(("normalization", "settings"), SETTINGS)
def test_settings_of_diffusers_there_and_back(
    normalization: LatentNormalization | None, settings: dict[str, Any]
) -> None:
    assert diffusers_normalization(normalization) == settings
    assert normalization_of_settings(settings) == normalization


def test_one_value_is_repeated_for_each_channel() -> None:
    result = mean_and_std(LatentNormalization((0.5,), (0.25,)), 3)
    assert result == {"latents_mean": [0.5] * 3, "latents_std": [4.0] * 3}
    assert mean_and_std(None, 3) == {"latents_mean": None, "latents_std": None}


def test_a_factor_multiplies_the_scale_of_each_channel() -> None:
    settings = {"latents_mean": [1.0, -2.0], "latents_std": [2.0, 4.0]}
    assert normalization_of_settings(settings) == BY_CHANNEL
    halved = LatentNormalization((1.0, -2.0), (0.25, 0.125))
    assert normalization_of_settings(settings | {"scaling_factor": 0.5}) == halved


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"scaling_factor": 0},
        {"scaling_factor": "0.5"},
        {"scaling_factor": 1.0, "shift_factor": math.nan},
        {"latents_mean": [0.0], "latents_std": [0.0]},
        {"latents_mean": [0.0], "latents_std": [1.0], "scaling_factor": None},
        {"latents_mean": [], "latents_std": []},
    ],
)
def test_settings_that_mean_nothing_are_unknown(settings: dict[str, Any]) -> None:
    assert normalization_of_settings(settings) is None


def test_a_rearrangement_has_no_setting() -> None:
    packed = LatentNormalization((0.0,), (0.5,), 2)
    for write in (diffusers_normalization, lambda each: mean_and_std(each, 4)):
        with refuses(WrongTensors, "2x2", '"native"'):
            write(packed)


def test_classes_with_one_factor() -> None:
    assert one_factor(None, "VQModel") == {"scaling_factor": None}
    assert one_factor(SD1, "VQModel") == {"scaling_factor": 0.18215}
    for more in (FLUX, BY_CHANNEL):
        with refuses(WrongTensors, "VQModel", '"native"'):
            one_factor(more, "VQModel")


def test_statistics_are_a_mean_and_a_variance() -> None:
    found = normalization_of(torch.tensor([1.0, -2.0]), torch.tensor([4.0, 0.25]), 0.0)
    assert found == LatentNormalization((1.0, -2.0), (0.5, 2.0), 2)
    assert normalization_of(torch.zeros(1), torch.zeros(1), 1e-4) == LatentNormalization((0.0,), (100.0,), 2)


@pytest.mark.parametrize(("mean", "variance"), [(math.nan, 1.0), (math.inf, 1.0), (0.0, math.inf), (0.0, -1e-9)])
def test_statistics_that_tell_no_normalization(mean: float, variance: float) -> None:
    assert normalization_of(torch.tensor([mean]), torch.tensor([variance]), EPSILON) is None


@pytest.mark.parametrize(
    ("config_json", "epsilon"), [({"batch_norm_eps": 1e-3}, 1e-3), ({}, 1e-4), ({"batch_norm_eps": 1}, 1e-4)]
)
def test_a_config_json_may_state_what_is_added_to_the_variance(config_json: dict[str, Any], epsilon: float) -> None:
    tensors = {MEAN: torch.zeros(4), VARIANCE: torch.ones(4)}
    found = BATCH_NORM.read(tensors, config_json)
    assert found is not None
    assert found.scale == pytest.approx(((1 + epsilon) ** -0.5,) * 4, rel=1e-12)
    assert BATCH_NORM.keys == {MEAN, VARIANCE, COUNT}


CHANNELS = SimpleNamespace(latent_channels=8)


def test_vectors_and_normalizations_are_converted_both_ways() -> None:
    tensors = {LATENTS_MEAN: torch.randn(8), LATENTS_STD: torch.rand(8) + 0.5}
    normalization = normalization_of_vectors(tensors, {})
    assert normalization is not None
    again = vectors_of(CHANNELS, normalization)
    assert all(torch.equal(again[key], tensors[key]) for key in tensors)
    assert vectors_of(CHANNELS, None) == {}
    assert vectors_of(CHANNELS, LatentNormalization((0.0,), (1.0,), 2)) == {}
    assert normalization_of_vectors(tensors | {LATENTS_STD: torch.zeros(8)}, {}) is None
    assert normalization_of_vectors(tensors | {LATENTS_MEAN: torch.full((8,), torch.nan)}, {}) is None

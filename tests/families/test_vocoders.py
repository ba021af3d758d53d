"""Vocoders: sizes, settings, and the layers that only some have."""

import dataclasses

import pytest
import torch
from refusals import refuses

from vaekit.errors import UnknownVAE
from vaekit.families.vocoders import (
    ACTIVATIONS,
    SNAKE,
    AntiAliased,
    Vocoder,
    VocoderConfig,
    detect_vocoder,
    no_vocoder,
    with_stated_vocoder,
)

CONFIG = VocoderConfig(6, 16, 2, (16, 8), (5, 4), (3, 7), ((1, 3), (1, 3)))


@torch.no_grad()
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("weight_norm", [False, True])
def test_waveforms_have_as_many_samples_as_factors_say(activation: str, weight_norm: bool) -> None:
    """Also where a kernel and its factor differ by an odd number."""
    torch.manual_seed(0)
    config = dataclasses.replace(CONFIG, activation=activation, weight_norm=weight_norm)
    vocoder = Vocoder(config)
    wave = vocoder(torch.randn(1, 6, 9))
    assert wave.shape == (1, 2, 9 * config.hop) and wave.abs().max() <= 1
    shapes = {key: tuple(each.shape) for key, each in vocoder.state_dict().items()}
    found = detect_vocoder(shapes, "")
    assert found is not None and found.weight_norm == weight_norm
    assert (found.activation == SNAKE) == (activation == SNAKE)
    stated = with_stated_vocoder(found, {"upsample_rates": [5, 4], "activation": activation})
    assert dataclasses.replace(stated, activation=activation, final=config.final) == config


@torch.no_grad()
def test_an_antialiased_activation_keeps_slow_waves() -> None:
    """With filters that sum to one, and a tiny amplitude of the sine."""
    layer = AntiAliased(1)
    for part in (layer.upsample, layer.downsample):
        part.filter.copy_(torch.hann_window(14, periodic=False)[1:-1] / torch.hann_window(14, periodic=False).sum())
    layer.act.beta.fill_(20.0)
    x = torch.sin(torch.arange(200) / 20).view(1, 1, -1)
    torch.testing.assert_close(layer(x)[..., 20:-20], x[..., 20:-20], atol=0.02, rtol=0)


def test_the_mean_and_the_scale_are_applied_if_stated() -> None:
    config = dataclasses.replace(CONFIG, statistics=True, normalized=True)
    assert not with_stated_vocoder(config, {"normalize_before": False}).normalized
    assert with_stated_vocoder(config, {}).normalized
    assert not with_stated_vocoder(CONFIG, {"normalize_before": True}).normalized


@pytest.mark.parametrize(
    "fields",
    [{"upsample_factors": [5]}, {"upsample_rates": [17, 4]}, {"resnet_dilations": [[1, 3]]}, {"dilations": [[0], [1]]}],
    ids=str,
)
def test_impossible_settings_are_refused(fields: dict[str, object]) -> None:
    with refuses(UnknownVAE):
        with_stated_vocoder(CONFIG, fields)


def test_the_sentence_names_the_vocoder() -> None:
    assert no_vocoder(True, "HiFiGAN") == [] and "HiFiGAN" in no_vocoder(False, "HiFiGAN")[0]

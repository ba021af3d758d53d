"""Nets for waveforms."""

import pytest
import torch

from vaekit.nets.waveform import WaveformConfig


@pytest.mark.parametrize("strides", [(4, 4), (1, 2, 3), (5,), (8, 4, 2), (7, 3)])
@pytest.mark.parametrize("overlap", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_lengths_are_exact(strides: tuple[int, ...], overlap: int, channels: int) -> None:
    config = WaveformConfig(channels, 3, strides, (4,) * len(strides), (1, 3), 3, overlap)
    encoder, decoder = config.build(2, 1)
    (hop,) = config.geometry.factors
    for frames in (1, 2, 5):
        moments = encoder(torch.randn(2, channels, frames * hop))
        assert moments.shape == (2, 6, frames)
        assert decoder(moments[:, :3]).shape == (2, channels, frames * hop)


@pytest.mark.parametrize("activation", ["snake", "elu"])
def test_units_start_as_the_identity(activation: str) -> None:
    config = WaveformConfig(1, 2, (2,), (4,), activation=activation)
    encoder, _ = config.build(2, 1)
    x = torch.randn(1, 1, 8)
    down, out = encoder.body[0], encoder.body[-2:]
    assert torch.equal(encoder(x), out(down(x)))


@pytest.mark.parametrize(
    "settings",
    [
        {"strides": (2, 2)},
        {"strides": ()},
        {"strides": (0,)},
        {"kernel": 4},
        {"activation": "relu"},
        {"overlap": 0},
        {"dilations": (0,)},
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        WaveformConfig(**{"audio_channels": 1, "latent_channels": 2, "strides": (2,), "widths": (4,), **settings})

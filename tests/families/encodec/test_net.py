"""Parity with transformers' EncodecModel on random weights: codes, sums of vectors, and sound."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from random_weights import waveform
from torch import nn

from vaekit import load
from vaekit.distributions import Quantized
from vaekit.families.encodec.net import EncodecConfig, build


@torch.no_grad()
@pytest.mark.parametrize("positions", [1, 3, 9])
def test_equal_to_transformers(pair: tuple[nn.Module, Path], positions: int) -> None:
    theirs, folder = pair
    ours = load(folder)
    x = waveform(ours.geometry.channels, positions * ours.geometry.factors[0])
    bandwidth = theirs.config.target_bandwidths[-1]
    posterior, latent = ours.encode(x), theirs.encoder(x)
    assert isinstance(posterior, Quantized)
    torch.testing.assert_close(posterior.continuous, latent, rtol=1e-5, atol=1e-5)
    assert posterior.codes.shape == (2, theirs.config.num_quantizers, positions)
    # In double precision: rounding decides near ties, and differs from processor to processor.
    expected = deepcopy(theirs.quantizer).double().encode(latent.double(), bandwidth).transpose(0, 1)
    exact = deepcopy(ours.to_posterior).double()(latent.double())
    assert isinstance(exact, Quantized)
    assert torch.equal(exact.codes, expected)
    assert positions < 9 or len(exact.codes.unique()) > 4
    embedded = theirs.quantizer.decode(expected.transpose(0, 1))
    torch.testing.assert_close(exact.mean.float(), embedded, rtol=1e-5, atol=1e-5)
    sound = theirs.decode(expected.unsqueeze(0), [None]).audio_values
    assert sound.std() > 0.005
    torch.testing.assert_close(ours.decode(embedded), sound, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_causal_network_sees_no_later_samples() -> None:
    torch.manual_seed(0)
    config = EncodecConfig(1, 6, 4, (2, 3), 1, 2, True, 7, 7, 3, 2, 12, 3, True, True, 0)
    encoder, decoder = build(config)
    assert config.geometry.least_positions == 7
    x = waveform(1, 60)
    later = x.clone()
    later[..., 42:] += 1
    a, b = encoder(x), encoder(later)
    assert torch.equal(a[..., :7], b[..., :7]) and not torch.equal(a[..., 7:], b[..., 7:])
    c, d = decoder(a), decoder(torch.cat([a[..., :7], b[..., 7:]], dim=2))
    assert torch.equal(c[..., :42], d[..., :42])


def test_configs_of_no_network_are_refused() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        EncodecConfig(1, 6, 4, (), 1, 2, True, 7, 7, 3, 2, 12, 3, True, True, 0)
    with pytest.raises(ValueError, match="1 or more"):
        EncodecConfig(1, 6, 1, (2,), 1, 2, True, 7, 7, 3, 2, 12, 3, True, True, 0)

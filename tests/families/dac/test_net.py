"""Parity with transformers' DacModel on random weights: codes, sums of vectors, and sound."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from random_weights import waveform
from torch import nn

from vaekit import load
from vaekit.distributions import Quantized, UniformCodes
from vaekit.families import assemble, family_of
from vaekit.families.dac.net import DACConfig, lacking


@torch.no_grad()
@pytest.mark.parametrize("positions", [1, 5])
def test_equal_to_transformers(pair: tuple[nn.Module, Path], positions: int) -> None:
    theirs, folder = pair
    ours = load(folder)
    hop = ours.geometry.factors[0]
    x = waveform(1, positions * hop)
    posterior, latent = ours.encode(x), theirs.encoder(x)
    assert isinstance(posterior, Quantized)
    torch.testing.assert_close(posterior.continuous, latent, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.to_posterior.embed(posterior.codes), posterior.mean, rtol=1e-5, atol=1e-5)
    # In double precision: rounding decides near ties, and differs from processor to processor.
    quantized, codes, *_ = deepcopy(theirs.quantizer).double()(latent.double())
    exact = deepcopy(ours.to_posterior).double()(latent.double())
    assert torch.equal(exact.codes, codes)
    assert positions == 1 or len(codes.unique()) > 1
    torch.testing.assert_close(exact.mean, quantized, rtol=1e-5, atol=1e-5)
    sound = theirs.decode(quantized.float()).audio_values.unsqueeze(1)
    decoded = ours.decode(quantized.float())
    assert decoded.shape == x.shape and sound.std() > 0.005
    torch.testing.assert_close(decoded[..., : sound.shape[-1]], sound, rtol=1e-5, atol=1e-5)
    assert x.shape[-1] - sound.shape[-1] == lacking(ours.config.strides)
    assert not decoded[..., sound.shape[-1] :].any()


def test_samples_that_odd_strides_lack() -> None:
    assert lacking((2, 4, 8, 8)) == 0
    assert lacking((2, 4, 5, 8)) == 8
    assert lacking((3, 5)) == 4


def test_half_precision_is_quantized_in_single() -> None:
    torch.manual_seed(0)
    config = DACConfig(1, 8, (2, 4), (8, 4), (4,), True, 0, 12, 3, 5)
    head = assemble(family_of("dac"), config).to_posterior
    assert isinstance(head, nn.Module)
    moments = torch.randn(2, 8, 6).half()
    with torch.no_grad():
        single = head(moments.float())
        half = head.half()(moments)
    assert half.mean.dtype == half.continuous.dtype == torch.float32
    assert (half.codes == single.codes).float().mean() > 0.9


def test_the_prior_is_uniform_over_all_codes() -> None:
    config = DACConfig(1, 8, (2, 4), (8, 4), (4,), False, 0, 12, 3, 5)
    vae = assemble(family_of("dac"), config)
    assert vae.prior == UniformCodes(12**3)
    with pytest.raises(ValueError, match="1 or more"):
        DACConfig(1, 8, (2, 4), (8, 4), (4,), False, 0, 12, 0, 5)

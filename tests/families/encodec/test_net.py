"""Parity with transformers' EncodecModel and its processor on random weights: codes, sums of vectors, and sound."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from random_weights import waveform
from torch import Tensor, nn
from transformers import EncodecFeatureExtractor

from vaekit import load
from vaekit.distributions import Quantized
from vaekit.families.encodec.net import EncodecConfig, build
from vaekit.nets.quantizers import ResidualQuantizer
from vaekit.runtime.conversion import in_double
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan

CHUNK, OVERLAP, STEP = 160, 8, 152
LENGTHS = (1, 100, STEP, STEP + 1, CHUNK, 2 * STEP + 5, 700)


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


def sound(length: int) -> Tensor:
    """A waveform that becomes louder."""
    return waveform(2, length, 1) * torch.linspace(0.05, 1, length)


def theirs_of(theirs: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
    """The codes of each chunk, its scale, and the reconstruction, by transformers' model and its processor."""
    facts = theirs.config
    processor = EncodecFeatureExtractor(2, facts.sampling_rate, 0.0, facts.chunk_length_s, facts.overlap)
    given = processor(raw_audio=x[0].numpy(), sampling_rate=facts.sampling_rate, return_tensors="pt")
    values, mask = given["input_values"].to(next(theirs.parameters()).dtype), given["padding_mask"]
    encoded = theirs.encode(values, mask)
    result = theirs.decode(encoded.audio_codes, encoded.audio_scales, mask).audio_values
    return encoded.audio_codes, encoded.audio_scales, result


@torch.no_grad()
@pytest.mark.parametrize("length", LENGTHS)
def test_chunks_are_equal_to_transformers(chunked: tuple[nn.Module, Path], length: int) -> None:
    theirs, folder = deepcopy(chunked[0]).double(), chunked[1]
    x = sound(length)
    codes, scales, result = theirs_of(theirs, x)
    ours = in_double(load(folder), torch.device("cpu"))
    posterior = ours.encode(x.double())
    assert isinstance(posterior, Quantized)
    # Their processor appends a chunk that starts after the end, which nothing of the result depends on.
    chunks = -(-length // STEP)
    assert len(codes) == chunks + 1
    assert torch.equal(posterior.codes, codes[:chunks].permute(1, 2, 0, 3).flatten(2))
    assert length < CHUNK or len(posterior.codes.unique()) > 4
    loudness = posterior.mode[0, -1].view(chunks, -1)
    torch.testing.assert_close(loudness, torch.stack(scales[:chunks])[:, 0].expand_as(loudness))
    assert result.std() > 1e-3
    torch.testing.assert_close(ours.decode(posterior.mode)[..., :length], result[..., :length])


@torch.no_grad()
@pytest.mark.parametrize("length", LENGTHS)
def test_streamed_chunks_are_equal_to_transformers(chunked: tuple[nn.Module, Path], length: int) -> None:
    theirs, folder = chunked
    engine, x, blocks = Engine(load(folder), Plan(device="cpu")), sound(length), list[Tensor]()
    codes, _, result = theirs_of(theirs, x)
    posterior = engine.encode_stream(lambda start, end: x[0, :, start:end], length)
    assert isinstance(posterior, Quantized)
    assert torch.equal(posterior.codes, engine.encode(x).codes)  # type: ignore[attr-defined]
    engine.decode_stream(posterior.mode, blocks.append, length)
    assert sum(each.shape[1] for each in blocks) == length
    if torch.equal(posterior.codes, codes[:-1].permute(1, 2, 0, 3).flatten(2)):  # near ties differ by rounding
        for each in (torch.cat(blocks, dim=1)[None], engine.reconstruct(x)):
            torch.testing.assert_close(each, result[..., :length], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_levels_of_chunks_are_kept_and_silence_is_finite(chunked: tuple[nn.Module, Path]) -> None:
    vae, x = load(chunked[1]), sound(4 * STEP)
    x[..., STEP : 3 * STEP + OVERLAP] = 0
    quiet = x.clone()
    quiet[..., :STEP] /= 64
    first, second = vae.encode(x), vae.encode(quiet)
    assert torch.equal(first.codes[..., :20], second.codes[..., :20])  # type: ignore[attr-defined]
    ratio = first.mode[0, -1] / second.mode[0, -1]
    assert ratio[:20].tolist() == pytest.approx([64] * 20, rel=1e-4) and ratio[20:].tolist() == [1] * 60
    assert vae.decode(first.mode).isfinite().all() and first.mode[0, -1, 20:60].max() < 1e-7


def test_codes_alone_have_a_loudness_of_one(chunked: tuple[nn.Module, Path]) -> None:
    vae = load(chunked[1])
    with torch.no_grad():
        posterior = vae.encode(sound(300))
    embedded = vae.to_posterior.embed(posterior.codes)  # type: ignore[attr-defined]
    assert torch.equal(embedded[:, :-1], posterior.embedded[:, :-1])  # type: ignore[attr-defined]
    assert (embedded[:, -1] == 1).all()


@torch.no_grad()
@pytest.mark.parametrize("choices", [1, 2])
def test_first_codes_are_those_of_a_lower_bandwidth(pair: tuple[nn.Module, Path], choices: int) -> None:
    theirs, folder = deepcopy(pair[0]).double(), pair[1]
    ours = in_double(load(folder), torch.device("cpu"))
    x = waveform(ours.geometry.channels, 9 * ours.geometry.factors[0]).double()
    bandwidth = choices * theirs.config.codebook_nbits * theirs.config.frame_rate / 1000
    theirs.config.target_bandwidths = [bandwidth, *theirs.config.target_bandwidths]
    codes = theirs.encode(x, bandwidth=bandwidth).audio_codes[0]
    assert isinstance(ours.to_posterior, ResidualQuantizer)
    ours.to_posterior.use(choices)
    posterior = ours.encode(x)
    assert isinstance(posterior, Quantized)
    assert codes.shape[1] == choices and torch.equal(posterior.codes, codes)
    assert torch.equal(ours.to_posterior.embed(codes), posterior.embedded)
    expected = theirs.decode(codes[None], [None]).audio_values
    torch.testing.assert_close(ours.decode(posterior.mode), expected)

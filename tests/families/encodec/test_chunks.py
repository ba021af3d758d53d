"""EnCodec at 48 kHz: parity with transformers' EncodecModel and its processor on random weights, and its files."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from random_weights import shaken, waveform
from refusals import refuses
from torch import Tensor, nn
from transformers import EncodecConfig, EncodecFeatureExtractor, EncodecModel

from vaekit import inspect, load, save
from vaekit.checkpoints.latent_files import LatentFile, load_latent, origin_of, save_latent
from vaekit.distributions import Quantized
from vaekit.errors import NotRunnable, UnknownVAE
from vaekit.runtime.conversion import in_double
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan

CHUNK, OVERLAP, STEP, RATE = 160, 8, 152, 1_600
SECONDS, SHARE = CHUNK / RATE, OVERLAP / CHUNK
BANDWIDTH = 2.4
LENGTHS = (1, 100, STEP, STEP + 1, CHUNK, 2 * STEP + 5, 700)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    config = EncodecConfig(
        num_filters=4,
        hidden_size=6,
        codebook_size=16,
        upsampling_ratios=[4, 2],
        num_lstm_layers=1,
        audio_channels=2,
        sampling_rate=RATE,
        normalize=True,
        chunk_length_s=SECONDS,
        overlap=SHARE,
        norm_type="time_group_norm",
        use_causal_conv=False,
        target_bandwidths=[BANDWIDTH],
    )
    torch.manual_seed(0)
    theirs = shaken(EncodecModel(config), 0.2)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        encoded = theirs.encoder(waveform(2, CHUNK))
    center, spread = encoded.mean(dim=(0, 2)), encoded.std(dim=(0, 2))
    for number, stage in enumerate(theirs.quantizer.layers):
        stage.codebook.embed.copy_(center * (number == 0) + spread * torch.randn(16, 6, generator=generator))
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    return theirs, folder


def sound(length: int) -> Tensor:
    """A waveform that becomes louder."""
    return waveform(2, length, 1) * torch.linspace(0.05, 1, length)


def theirs_of(theirs: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
    """The codes of each chunk, its scale, and the reconstruction, by transformers' model and its processor."""
    processor = EncodecFeatureExtractor(feature_size=2, sampling_rate=RATE, chunk_length_s=SECONDS, overlap=SHARE)
    given = processor(raw_audio=x[0].numpy(), sampling_rate=RATE, return_tensors="pt")
    values, mask = given["input_values"].to(next(theirs.parameters()).dtype), given["padding_mask"]
    encoded = theirs.encode(values, mask, bandwidth=BANDWIDTH)
    result = theirs.decode(encoded.audio_codes, encoded.audio_scales, mask).audio_values
    return encoded.audio_codes, encoded.audio_scales, result


@torch.no_grad()
@pytest.mark.parametrize("length", LENGTHS)
def test_equal_to_transformers(pair: tuple[nn.Module, Path], length: int) -> None:
    theirs, folder = deepcopy(pair[0]).double(), pair[1]
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
def test_engines_and_streams_are_equal_to_transformers(pair: tuple[nn.Module, Path], length: int) -> None:
    theirs, folder = pair
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
def test_levels_of_chunks_are_kept_and_silence_is_finite(pair: tuple[nn.Module, Path]) -> None:
    vae, x = load(pair[1]), sound(4 * STEP)
    x[..., STEP : 3 * STEP + OVERLAP] = 0
    quiet = x.clone()
    quiet[..., :STEP] /= 64
    first, second = vae.encode(x), vae.encode(quiet)
    assert torch.equal(first.codes[..., :20], second.codes[..., :20])  # type: ignore[attr-defined]
    ratio = first.mode[0, -1] / second.mode[0, -1]
    assert ratio[:20].tolist() == pytest.approx([64] * 20, rel=1e-4) and ratio[20:].tolist() == [1] * 60
    assert vae.decode(first.mode).isfinite().all() and first.mode[0, -1, 20:60].max() < 1e-7


def test_codes_alone_have_a_loudness_of_one(pair: tuple[nn.Module, Path]) -> None:
    vae = load(pair[1])
    with torch.no_grad():
        posterior = vae.encode(sound(300))
    embedded = vae.to_posterior.embed(posterior.codes)  # type: ignore[attr-defined]
    assert torch.equal(embedded[:, :-1], posterior.embedded[:, :-1])  # type: ignore[attr-defined]
    assert (embedded[:, -1] == 1).all()


def test_files_keep_every_bit_and_say_what_is_coded(pair: tuple[nn.Module, Path], tmp_path: Path) -> None:
    folder = pair[1]
    vae = load(folder)
    assert (vae.config.chunk, vae.config.overlap, vae.config.sample_rate) == (CHUNK, OVERLAP, RATE)
    save(vae, tmp_path / "native.safetensors", "native")
    again = load(tmp_path / "native.safetensors")
    assert again.config == vae.config
    assert all(torch.equal(a, b) for a, b in zip(vae.state_dict().values(), again.state_dict().values(), strict=True))
    seen = inspect(folder)
    assert seen.geometry == vae.geometry
    (said,) = (each for each in seen.problems if "chunks of" in each)
    assert "0.1 s" in said and "normalized and coded separately" in said


def test_latent_files_hold_the_loudness(pair: tuple[nn.Module, Path], tmp_path: Path) -> None:
    vae, x = load(pair[1]), sound(500)
    with torch.no_grad():
        posterior = vae.encode(x)
    save_latent(tmp_path / "x.latent.safetensors", LatentFile(posterior, origin_of(vae), (500,)))
    latent = load_latent(tmp_path / "x.latent.safetensors")
    assert latent.space.geometry == vae.geometry
    assert torch.equal(latent.posterior.mode, posterior.mode)
    assert torch.equal(latent.posterior.codes, posterior.codes)  # type: ignore[attr-defined]


def changed(folder: Path, into: Path, settings: dict[str, Any]) -> Path:
    """A copy of a folder with other settings in its config.json."""
    (into / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    stated = json.loads((folder / "config.json").read_text()) | settings
    (into / "config.json").write_text(json.dumps(stated))
    return into


@pytest.mark.parametrize("settings", [{"normalize": False}, {"chunk_length_s": None}, {"norm_type": "weight_norm"}])
def test_other_ways_to_run_it_are_refused(
    pair: tuple[nn.Module, Path], tmp_path: Path, settings: dict[str, Any]
) -> None:
    with refuses(NotRunnable, *settings):
        load(changed(pair[1], tmp_path, settings))


@pytest.mark.parametrize(
    "settings",
    [
        {"chunk_length_s": 0},
        {"chunk_length_s": -1.0},
        {"chunk_length_s": float("nan")},
        {"chunk_length_s": float("inf")},
        {"chunk_length_s": 1e9},
        {"chunk_length_s": "1"},
        {"chunk_length_s": []},
        {"chunk_length_s": 0.101},
        {"overlap": 0.6},
        {"overlap": None},
        {"overlap": -1},
        {"overlap": float("nan")},
    ],
)
def test_impossible_chunks_are_refused(pair: tuple[nn.Module, Path], tmp_path: Path, settings: dict[str, Any]) -> None:
    with refuses(UnknownVAE, "chunks"):
        load(changed(pair[1], tmp_path, settings))

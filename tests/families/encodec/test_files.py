"""Files of EnCodec: names, detection, and what is not run."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from random_weights import waveform
from refusals import refuses
from safetensors.torch import load_file, save_file
from shapes_of_configs import assert_names, native_shapes
from torch import nn

from vaekit import inspect, load, save
from vaekit.audio_format import AudioFormat
from vaekit.checkpoints.latent_files import LatentFile, load_latent, origin_of, save_latent
from vaekit.errors import NotRunnable, UnknownVAE, WrongTensors
from vaekit.families import assemble, family_of, layout_of
from vaekit.families.encodec.files import FAMILY, STAGES, detect_encodec
from vaekit.families.encodec.net import EncodecConfig
from vaekit.identification.identify import identify

CONFIG = EncodecConfig(1, 6, 4, (2, 3), 1, 2, True, 7, 7, 3, 2, 12, 3, True, True, 0)
FOUR = replace(CONFIG, strides=(2, 4, 5, 8), sample_rate=24_000)
CHUNKED = replace(
    CONFIG, audio_channels=2, causal=False, weight_norm=False, chunk=150 * 6, overlap=9, residual_blocks=2
)
SHAPES = native_shapes(CONFIG)
Settings = dict[str, Any]


def test_layouts_keep_every_bit(pair: tuple[nn.Module, Path], tmp_path: Path) -> None:
    theirs, folder = pair
    found = identify(folder)
    stated = theirs.config
    assert found.family.name == "encodec" and found.config.causal == stated.use_causal_conv
    assert FAMILY.audio(found.config) == AudioFormat(stated.sampling_rate, stated.audio_channels)
    assert found.config.residual_blocks == stated.num_residual_layers
    save(load(folder), tmp_path / "native.safetensors", "native")
    before, after = load(folder).state_dict(), load(tmp_path / "native.safetensors").state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert load(tmp_path / "native.safetensors").config == found.config


@pytest.mark.parametrize("weight_norm", [True, False])
@pytest.mark.parametrize("blocks", [1, 3])
def test_the_config_is_read_off_either_half_with_the_quantizer(weight_norm: bool, blocks: int) -> None:
    config = replace(CONFIG, weight_norm=weight_norm, residual_blocks=blocks)
    shapes = native_shapes(config)
    assert detect_encodec(shapes) == config
    for half in ("encoder", "decoder"):
        assert detect_encodec({key: shape for key, shape in shapes.items() if not key.startswith(half)}) == config


def test_group_norms_are_those_of_a_network_of_chunks() -> None:
    shapes = native_shapes(CHUNKED)
    assert detect_encodec(shapes) == CHUNKED
    for half in ("encoder", "decoder"):
        assert detect_encodec({key: shape for key, shape in shapes.items() if not key.startswith(half)}) == CHUNKED


def test_without_codebooks_it_is_none() -> None:
    rest = {key: shape for key, shape in SHAPES.items() if not key.startswith(STAGES)}
    assert detect_encodec(rest) is None and not FAMILY.claims(rest)
    assert detect_encodec({key: shape for key, shape in SHAPES.items() if key.startswith(STAGES)}) is None
    assert detect_encodec({key: shape[:1] for key, shape in SHAPES.items()}) is None


def test_names_of_group_norms_by_the_authors() -> None:
    layout = layout_of("original", "encodec")
    assert layout is not None
    names = {
        "encoder.layers.0.norm.weight": "encoder.model.0.conv.norm.weight",
        "encoder.layers.1.block.1.norm.bias": "encoder.model.1.block.1.conv.norm.bias",
        "decoder.layers.3.norm.weight": "decoder.model.3.convtr.norm.weight",
        "decoder.layers.4.shortcut.norm.weight": "decoder.model.4.shortcut.conv.norm.weight",
    }
    chunked = replace(FOUR, weight_norm=False, causal=False, chunk=150 * 320, overlap=480)
    assert_names(layout, chunked, names)


def test_names_of_the_authors(tmp_path: Path) -> None:
    layout = layout_of("original", "encodec")
    assert layout is not None
    names = {
        "encoder.layers.0.conv.weight_v": "encoder.model.0.conv.conv.weight_v",
        "encoder.layers.1.block.1.conv.bias": "encoder.model.1.block.1.conv.conv.bias",
        "encoder.layers.13.lstm.weight_ih_l0": "encoder.model.13.lstm.weight_ih_l0",
        "decoder.layers.3.conv.weight_g": "decoder.model.3.convtr.convtr.weight_g",
        "decoder.layers.15.conv.weight_g": "decoder.model.15.conv.conv.weight_g",
        f"{STAGES}1.codebook": "quantizer.vq.layers.1._codebook.embed",
    }
    assert_names(layout, FOUR, names)
    save(assemble(family_of("encodec"), FOUR), tmp_path / "x.safetensors", "original")
    tensors = load_file(tmp_path / "x.safetensors") | {"quantizer.vq.layers.0._codebook.inited": torch.ones(1)}
    save_file(tensors, tmp_path / "x.safetensors")
    found = identify(tmp_path / "x.safetensors")
    assert (found.layout, found.config, found.parts[0].ignored) == ("original", FOUR, 1)


@pytest.mark.parametrize(
    "key", [f"{STAGES}1.codebook", "encoder.layers.6.conv.bias", "decoder.layers.1.lstm.bias_hh_l1"]
)
def test_a_missing_tensor_is_named(key: str, tmp_path: Path) -> None:
    tensors = assemble(family_of("encodec"), CONFIG).state_dict()
    del tensors[key]
    save_file(tensors, tmp_path / "damaged.safetensors")
    with refuses(WrongTensors, "encodec", key):
        identify(tmp_path / "damaged.safetensors")


def test_other_settings_are_not_run(pair: tuple[nn.Module, Path], tmp_path: Path) -> None:
    _, folder = pair
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    stated = json.loads((folder / "config.json").read_text()) | {"pad_mode": "constant"}
    (tmp_path / "config.json").write_text(json.dumps(stated))
    with refuses(NotRunnable, "pad_mode"):
        identify(tmp_path)


def test_files_keep_every_bit_and_say_what_is_coded(chunked: tuple[nn.Module, Path], tmp_path: Path) -> None:
    folder = chunked[1]
    vae = load(folder)
    assert (vae.config.chunk, vae.config.overlap, vae.config.sample_rate) == (160, 8, 1_600)
    save(vae, tmp_path / "native.safetensors", "native")
    again = load(tmp_path / "native.safetensors")
    assert again.config == vae.config
    assert all(torch.equal(a, b) for a, b in zip(vae.state_dict().values(), again.state_dict().values(), strict=True))
    seen = inspect(folder)
    assert seen.geometry == vae.geometry
    (said,) = (each for each in seen.problems if "chunks of" in each)
    assert "0.1 s" in said and "normalized and coded separately" in said


def test_latent_files_hold_the_loudness(chunked: tuple[nn.Module, Path], tmp_path: Path) -> None:
    vae, x = load(chunked[1]), waveform(2, 500, 1)
    with torch.no_grad():
        posterior = vae.encode(x)
    save_latent(tmp_path / "x.latent.safetensors", LatentFile(posterior, origin_of(vae), (500,)))
    latent = load_latent(tmp_path / "x.latent.safetensors")
    assert latent.space.geometry == vae.geometry
    assert torch.equal(latent.posterior.mode, posterior.mode)
    assert torch.equal(latent.posterior.codes, posterior.codes)  # type: ignore[attr-defined]


def changed(folder: Path, into: Path, settings: Settings) -> Path:
    """A copy of a folder with other settings in its config.json."""
    (into / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    stated = json.loads((folder / "config.json").read_text()) | settings
    (into / "config.json").write_text(json.dumps(stated))
    return into


@pytest.mark.parametrize("settings", [{"normalize": False}, {"chunk_length_s": None}, {"norm_type": "weight_norm"}])
def test_other_ways_to_run_it_are_refused(chunked: tuple[nn.Module, Path], tmp_path: Path, settings: Settings) -> None:
    with refuses(NotRunnable, *settings):
        load(changed(chunked[1], tmp_path, settings))


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
def test_impossible_chunks_are_refused(chunked: tuple[nn.Module, Path], tmp_path: Path, settings: Settings) -> None:
    with refuses(UnknownVAE, "chunks"):
        load(changed(chunked[1], tmp_path, settings))

"""Files of Oobleck: names, detection, sample rates, and the settings of diffusers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from refusals import refuses
from safetensors.torch import load_file, save_file
from shapes_of_configs import assert_names, native_shapes
from torch import nn

import vaekit
from vaekit import load, save
from vaekit.audio_format import AudioFormat
from vaekit.errors import UnknownVAE, VaekitError, WrongTensors
from vaekit.families import assemble, family_of, layout_of
from vaekit.families.oobleck.files import FAMILY, detect_oobleck, settings
from vaekit.families.oobleck.net import OobleckConfig
from vaekit.families.waveform_files import assumed_rate
from vaekit.identification.identify import identify
from vaekit.normalization import LatentNormalization

WEIGHTS = "diffusion_pytorch_model.safetensors"
CONFIG = OobleckConfig(2, 4, (8, 8, 16), (12, 6, 6), (2, 4), True, 0)
SHAPES = native_shapes(CONFIG)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")  # of diffusers
def test_every_layout_keeps_every_bit_and_diffusers_opens_the_result(
    pair: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    theirs, folder = pair
    save(load(folder), tmp_path / "original.safetensors", "original")
    save(load(tmp_path / "original.safetensors"), tmp_path / "native.safetensors", "native")
    save(load(tmp_path / "native.safetensors"), tmp_path / "again", "diffusers")
    before, after = load_file(folder / WEIGHTS), load_file(tmp_path / "again" / WEIGHTS)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    again = diffusers.AutoencoderOobleck.from_pretrained(tmp_path / "again")
    names = [name for name in theirs.config if not name.startswith("_")]
    assert {name: again.config[name] for name in names} == {name: theirs.config[name] for name in names}


def test_the_authors_names_are_numbered_sequences(tmp_path: Path) -> None:
    layout = layout_of("original", "oobleck")
    assert layout is not None
    names = {
        "encoder.conv1.weight_v": "encoder.layers.0.weight_v",
        "encoder.block.1.res_unit2.conv1.weight_g": "encoder.layers.2.layers.1.layers.1.weight_g",
        "encoder.block.0.conv1.bias": "encoder.layers.1.layers.4.bias",
        "encoder.snake1.alpha": "encoder.layers.3.alpha",
        "encoder.conv2.weight_v": "encoder.layers.4.weight_v",
        "decoder.block.0.snake1.beta": "decoder.layers.1.layers.0.beta",
        "decoder.block.1.conv_t1.weight_v": "decoder.layers.2.layers.1.weight_v",
        "decoder.block.1.res_unit1.snake2.alpha": "decoder.layers.2.layers.2.layers.2.alpha",
        "decoder.conv2.weight_v": "decoder.layers.4.weight_v",
    }
    assert_names(layout, CONFIG, names)
    assert layout.to_native("encoder.layers.3.weight_v", layout.native_levels(SHAPES)) is None
    vae = assemble(family_of("oobleck"), CONFIG)
    save(vae, tmp_path / "x.safetensors", "original")
    tensors = load_file(tmp_path / "x.safetensors")
    assert tensors["encoder.layers.3.alpha"].shape == (16,)
    assert_parametrized(tensors, tmp_path)


def assert_parametrized(tensors: dict[str, torch.Tensor], folder: Path) -> None:
    """The same weights under the names of new parametrizations, behind ComfyUI's prefix."""
    spelled = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
    renamed = {}
    for key, tensor in tensors.items():
        head, _, leaf = key.rpartition(".")
        renamed[f"pretransform.model.{head}.{spelled.get(leaf, leaf)}"] = tensor
    save_file(renamed, folder / "new.safetensors")
    found = identify(folder / "new.safetensors")
    assert (found.family.name, found.layout) == ("oobleck", "original-parametrized")
    assert found.config == CONFIG
    ours, again = load(folder / "x.safetensors"), load(folder / "new.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), again.state_dict().values(), strict=True))


@pytest.mark.parametrize("weight_norm", [True, False])
def test_the_config_is_read_off_either_half(weight_norm: bool) -> None:
    config = replace(CONFIG, weight_norm=weight_norm)
    shapes = native_shapes(config)
    assert detect_oobleck(shapes) == config
    encoder = {key: shape for key, shape in shapes.items() if key.startswith("encoder")}
    assert detect_oobleck(encoder) == replace(config, decoder_widths=(16, 8, 8))
    decoder = {key: shape for key, shape in shapes.items() if key.startswith("decoder")}
    assert detect_oobleck(decoder) == replace(config, encoder_widths=(6, 6, 12))


def test_near_misses_are_none() -> None:
    assert detect_oobleck({}) is None
    assert detect_oobleck({key: shape for key, shape in SHAPES.items() if not key.endswith("beta")}) is None
    odd = {"encoder.block.0.conv1.weight_v": (8, 8, 6), "decoder.block.1.conv_t1.weight_v": (6, 6, 6)}
    assert detect_oobleck(SHAPES | odd) is None
    assert detect_oobleck(SHAPES | {"encoder.block.0.conv1.weight_v": (8, 8, 8)}) is None
    flat = {key: shape[:1] for key, shape in SHAPES.items()}
    assert detect_oobleck(flat) is None


@pytest.mark.parametrize("key", list(SHAPES)[::5])
def test_a_missing_tensor_is_named(key: str, tmp_path: Path) -> None:
    tensors = assemble(family_of("oobleck"), CONFIG).state_dict()
    del tensors[key]
    save_file(tensors, tmp_path / "damaged.safetensors")
    with refuses(WrongTensors, "oobleck", key):
        identify(tmp_path / "damaged.safetensors")


def native_file(config: OobleckConfig, folder: Path, settings: dict[str, Any] | None = None) -> Path:
    """A folder with weights without metadata, and a config.json."""
    folder.mkdir(exist_ok=True)
    save_file(assemble(family_of("oobleck"), config).state_dict(), folder / WEIGHTS)
    if settings is not None:
        (folder / "config.json").write_text(json.dumps(settings))
    return folder


def test_the_sample_rate_is_stated_or_published_or_unknown(tmp_path: Path) -> None:
    folder = native_file(CONFIG, tmp_path / "x", {"_class_name": "AutoencoderOobleck", "sampling_rate": 22_050})
    assert FAMILY.audio(identify(folder).config) == AudioFormat(22_050, 2)
    unknown = identify(folder / WEIGHTS)
    assert unknown.config.sample_rate == 0 and "44100" in FAMILY.assumed(unknown.config)[0]
    assert FAMILY.audio(unknown.config) == AudioFormat(44_100, 2)
    stable = replace(CONFIG, strides=(2, 4, 4, 8, 8), encoder_widths=(8,) * 6, decoder_widths=(8,) * 6)
    for strides, rate in ((stable.strides, 44_100), ((2, 4, 4, 6, 10), 48_000)):
        config = replace(stable, strides=strides)
        path = native_file(config, tmp_path / str(rate)) / WEIGHTS
        assert identify(path).config == replace(config, sample_rate=rate)
        assert not assumed_rate(identify(path).config)
    save(load(folder), tmp_path / "y.safetensors")
    assert load(tmp_path / "y.safetensors").config.sample_rate == 22_050


@pytest.mark.parametrize("rate", [-1, 0.5, "fast", [44_100], 10**9, True])
def test_an_impossible_sample_rate_is_refused(rate: object, tmp_path: Path) -> None:
    folder = native_file(CONFIG, tmp_path / "x", {"_class_name": "AutoencoderOobleck", "sampling_rate": rate})
    with pytest.raises(VaekitError):
        identify(folder)
    metadata = {"vaekit.config": json.dumps({"sample_rate": rate})}
    save_file(assemble(family_of("oobleck"), CONFIG).state_dict(), tmp_path / "y.safetensors", metadata=metadata)
    with refuses(UnknownVAE, "sample rate"):
        identify(tmp_path / "y.safetensors")


@pytest.mark.parametrize(
    ("config", "normalization"),
    [
        (replace(CONFIG, decoder_widths=(12, 12, 6)), None),
        (replace(CONFIG, encoder_widths=(8, 12, 16), decoder_widths=(16, 12, 8)), None),
        (replace(CONFIG, encoder_widths=(12, 12, 24)), None),
        (replace(CONFIG, weight_norm=False), None),
        (CONFIG, LatentNormalization((0.0,), (0.5,))),
    ],
)
def test_what_diffusers_cannot_express_is_refused(
    config: OobleckConfig, normalization: LatentNormalization | None
) -> None:
    assert settings(CONFIG, LatentNormalization())["decoder_channels"] == 6
    with refuses(WrongTensors, "AutoencoderOobleck"):
        settings(config, normalization)


def test_published_latents_are_not_scaled(tmp_path: Path) -> None:
    widths = (8,) * 6
    config = OobleckConfig(2, 64, widths, widths, (2, 4, 4, 8, 8), True, 0)
    path = native_file(config, tmp_path / "x") / WEIGHTS
    inspected = vaekit.inspect(path, hash=False)
    assert inspected.candidate_models == ("Stable Audio Open",)
    assert inspected.normalization == LatentNormalization()
    ace = native_file(replace(config, strides=(2, 4, 4, 6, 10)), tmp_path / "y") / WEIGHTS
    inspected = vaekit.inspect(ace, hash=False)
    assert inspected.candidate_models == ("ACE-Step 1.5", "YuE 2")
    assert inspected.normalization == LatentNormalization()

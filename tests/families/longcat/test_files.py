"""Files of LongCat-AudioDiT: names, detection, and the settings of diffusers."""

import json
from dataclasses import replace
from pathlib import Path

import diffusers
import pytest
import torch
from refusals import refuses
from safetensors.torch import load_file, save_file
from shapes_of_configs import assert_names, native_shapes
from torch import nn

from vaekit import load, save
from vaekit.audio_format import AudioFormat
from vaekit.errors import NotRunnable, WrongTensors
from vaekit.families import assemble, family_of, layout_of
from vaekit.families.longcat.files import FAMILY, detect_longcat, settings
from vaekit.families.longcat.net import LongCatConfig
from vaekit.families.oobleck.files import detect_oobleck
from vaekit.families.oobleck.net import OobleckConfig
from vaekit.identification.identify import identify
from vaekit.normalization import LatentNormalization

WEIGHTS = "diffusion_pytorch_model.safetensors"
CONFIG = LongCatConfig(2, 4, (8, 8, 16), (16, 8, 8), (2, 4), True, 0)
SHAPES = native_shapes(CONFIG)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")  # of diffusers
def test_both_layouts_keep_every_bit_and_diffusers_opens_the_result(
    pair: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    theirs, folder = pair
    found = identify(folder)
    assert (found.family.name, found.contradictions) == ("longcat", "")
    assert FAMILY.audio(found.config) == AudioFormat(theirs.config.sample_rate, theirs.config.in_channels)
    save(load(folder), tmp_path / "native.safetensors", "native")
    save(load(tmp_path / "native.safetensors"), tmp_path / "again", "diffusers")
    before, after = load_file(folder / WEIGHTS), load_file(tmp_path / "again" / WEIGHTS)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) and before[key].shape == after[key].shape for key in before)
    again = diffusers.LongCatAudioDiTVae.from_pretrained(tmp_path / "again")
    names = [name for name in theirs.config if not name.startswith("_")]
    assert {name: again.config[name] for name in names} == {name: theirs.config[name] for name in names}
    assert identify(tmp_path / "again").contradictions == ""


def test_names() -> None:
    layout = layout_of("diffusers", "longcat")
    assert layout is not None
    names = {
        "encoder.conv2.weight_v": "encoder.layers.3.weight_v",
        "encoder.block.1.res_unit3.snake2.beta": "encoder.layers.2.layers.2.layers.2.beta",
        "decoder.snake1.alpha": "decoder.layers.3.alpha",
        "decoder.conv2.weight_v": "decoder.layers.4.weight_v",
    }
    assert_names(layout, CONFIG, names)


def test_it_is_told_apart_from_oobleck() -> None:
    """By the missing activation of the encoder; of decoders alone, mono ones are LongCat's."""
    assert detect_longcat(SHAPES) == CONFIG
    oobleck = native_shapes(OobleckConfig(2, 4, (8, 8, 16), (16, 8, 8), (2, 4), True, 0))
    assert detect_longcat(oobleck) is None
    decoder = {key: shape for key, shape in SHAPES.items() if key.startswith("decoder")}
    assert detect_longcat(decoder) is None and detect_oobleck(decoder) is not None
    mono = decoder | {"decoder.conv2.weight_v": (1, 8, 7)}
    assert detect_longcat(mono) == replace(CONFIG, audio_channels=1) and detect_oobleck(mono) is None
    encoder = {key: shape for key, shape in SHAPES.items() if key.startswith("encoder")}
    assert detect_longcat(encoder) == CONFIG
    assert detect_longcat({}) is None
    assert detect_longcat(SHAPES | {"decoder.conv1.weight_v": (16, 5, 7)}) is None


@pytest.mark.parametrize("key", ["encoder.conv1.weight_g", "decoder.snake1.alpha", "encoder.block.0.conv1.bias"])
def test_a_missing_tensor_is_named(key: str, tmp_path: Path) -> None:
    tensors = assemble(family_of("longcat"), CONFIG).state_dict()
    del tensors[key]
    save_file(tensors, tmp_path / "damaged.safetensors")
    with refuses(WrongTensors, "longcat", key):
        identify(tmp_path / "damaged.safetensors")


@pytest.mark.parametrize(
    "stated", [{"act_fn": "elu"}, {"use_snake": False}, {"out_shortcut": "none"}, {"final_tanh": True}]
)
def test_other_kinds_of_the_class_are_not_run(stated: dict[str, object], tmp_path: Path) -> None:
    save(assemble(family_of("longcat"), CONFIG), tmp_path / "x", "diffusers")
    own = json.loads((tmp_path / "x" / "config.json").read_text())
    (tmp_path / "x" / "config.json").write_text(json.dumps(own | stated))
    with refuses(NotRunnable, *stated):
        identify(tmp_path / "x")


def test_the_scale_is_the_normalization(tmp_path: Path) -> None:
    wide = (8,) * 6
    config = LongCatConfig(1, 4, wide, wide, (2, 4, 4, 8, 8), True, 24_000)
    assert detect_longcat(native_shapes(config)) == config
    read = FAMILY.normalization_from_settings
    assert read({"scale": 0.5}) == LatentNormalization((0.0,), (2.0,))
    for odd in (None, 0, -1.0, "0.71", True, float("nan"), float("inf"), 1e-320):
        assert read({"scale": odd}) is None
    assert settings(CONFIG, LatentNormalization((0.0,), (1 / 0.71,)))["scale"] == 0.71
    assert settings(CONFIG, None)["scale"] is None


@pytest.mark.parametrize(
    ("config", "normalization"),
    [
        (replace(CONFIG, decoder_widths=(16, 16, 8)), None),
        (replace(CONFIG, weight_norm=False), None),
        (CONFIG, LatentNormalization((0.5,), (1.0,))),
    ],
)
def test_what_diffusers_cannot_express_is_refused(
    config: LongCatConfig, normalization: LatentNormalization | None
) -> None:
    with refuses(WrongTensors, "LongCatAudioDiTVae"):
        settings(config, normalization)

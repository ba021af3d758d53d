"""Files of ACE-Step's autoencoder: names, the vocoder beside it, and the settings of diffusers."""

import json
from pathlib import Path

import pytest
import torch
from family_examples import EXAMPLES, PUBLISHED
from refusals import refuses
from safetensors.torch import load_file, save_file
from shapes_of_configs import assert_names, detected, in_layout, native_shapes

from vaekit import load, save
from vaekit.audio_format import AudioFormat
from vaekit.errors import WrongTensors
from vaekit.families import assemble, family_of, layout_of
from vaekit.families.ace_step.files import NORMALIZATION, detect_ace_step, settings
from vaekit.identification.identify import identify
from vaekit.normalization import LatentNormalization

CONFIG, ALONE = EXAMPLES["ace-step"], PUBLISHED["ACE-Step 1 without its vocoder"]


def test_every_layout_keeps_every_bit(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vae = assemble(family_of("ace-step"), CONFIG, normalization=NORMALIZATION)
    save(vae, tmp_path / "native.safetensors", "native")
    save(load(tmp_path / "native.safetensors"), tmp_path / "original.safetensors", "original")
    names = load_file(tmp_path / "original.safetensors")
    assert {"dcae.encoder.conv_in.weight", "vocoder.head.ups.0.weight_g", "vocoder.backbone.norm.bias"} <= names.keys()
    save(load(tmp_path / "original.safetensors"), tmp_path / "again", "diffusers")
    last = load(tmp_path / "again")
    assert last.config == CONFIG
    before, after = vae.state_dict(), last.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    stated = json.loads((tmp_path / "again" / "config.json").read_text())
    assert (stated["_class_name"], stated["vocoder"]["hop_length"]) == ("AutoencoderDC", 512)


def test_a_prefix_of_comfyui_is_removed(tmp_path: Path) -> None:
    layout = layout_of("original", "ace-step")
    assert layout is not None
    assert detected(in_layout(layout, native_shapes(CONFIG), "vae."))[0] is not None
    assert detected(in_layout(layout, native_shapes(ALONE)))[0] == ALONE
    assert_names(layout, CONFIG, {"decoder.vocoder.head.conv_in.weight_v": "vocoder.head.conv_pre.weight_v"})


def test_the_format_and_the_normalization() -> None:
    family = family_of("ace-step")
    assert family.audio(ALONE) == AudioFormat(44100, 2)
    assert (ALONE.geometry.latent_channels, ALONE.geometry.factors) == (128, (4096,))
    assert family.normalization_from_settings({"scaling_factor": 0.41407}) is None
    assert "Griffin-Lim" in family.limits(ALONE)[0] and not family.limits(CONFIG)
    with refuses(WrongTensors):
        settings(ALONE, LatentNormalization((0.0,), (0.41407,)))


def test_the_config_is_read_off_names_and_shapes() -> None:
    shapes = native_shapes(CONFIG)
    assert detect_ace_step(shapes) == CONFIG
    assert detect_ace_step({}) is None
    for key, shape in {"channel_layers.0.0.weight": (8, 9, 7), "stages.1.0.norm.weight": ()}.items():
        assert detect_ace_step(shapes | {f"decoder.vocoder.backbone.{key}": shape}) is None
    without = {key: shape for key, shape in shapes.items() if ".vocoder." not in key}
    assert detect_ace_step(without) is None


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_a_half_of_another_size_needs_its_vocoder(half: str, tmp_path: Path) -> None:
    vae = assemble(family_of("ace-step"), CONFIG)
    tensors = {key: tensor for key, tensor in vae.state_dict().items() if key.startswith(half)}
    save_file(tensors, tmp_path / "half.safetensors")
    if half == "decoder":
        assert identify(tmp_path / "half.safetensors").config.vocoder == CONFIG.vocoder

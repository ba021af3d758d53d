"""Files of SAME: names, detection, the normalization beside the weights, and the settings of diffusers."""

import warnings
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderSAME
from family_examples import EXAMPLES, PUBLISHED
from refusals import refuses
from safetensors.torch import load_file, save_file
from shapes_of_configs import assert_names, detected, in_layout, native_shapes

from vaekit import load, save
from vaekit.audio_format import AudioFormat
from vaekit.errors import NotRunnable, UnknownVAE, WrongTensors
from vaekit.families import assemble, family_of, layout_of
from vaekit.families.same.files import STD, detect_same, deviation_of, normalization_of, settings
from vaekit.families.same.net import SAMEConfig
from vaekit.identification.identify import identify
from vaekit.normalization import LatentNormalization

CONFIG = EXAMPLES["same"]
assert isinstance(CONFIG, SAMEConfig)
WEIGHTS = "diffusion_pytorch_model.safetensors"


def test_layouts_keep_every_bit_and_diffusers_opens_the_result(
    pair: tuple[AutoencoderSAME, Path], tmp_path: Path
) -> None:
    theirs, folder = pair
    save(load(folder), tmp_path / "native.safetensors", "native")
    again = load(tmp_path / "native.safetensors")
    assert again.config == load(folder).config
    save(again, tmp_path / "again", "diffusers")
    before, after = load_file(folder / WEIGHTS), load_file(tmp_path / "again" / WEIGHTS)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        reopened = AutoencoderSAME.from_pretrained(tmp_path / "again")
    x = torch.rand(1, 2, theirs.downsampling_ratio) * 2 - 1
    torch.testing.assert_close(reopened.encode(x).latents, theirs.encode(x).latents)


def test_the_config_and_the_normalization_are_read(pair: tuple[AutoencoderSAME, Path]) -> None:
    theirs, folder = pair
    found = identify(folder)
    assert found.family.audio(found.config) == AudioFormat(theirs.config.sampling_rate, 2)
    assert found.config.strides == tuple(theirs.config.encoder_strides)
    assert found.config.window == theirs.config.sliding_window
    assert found.normalization is not None
    torch.testing.assert_close(1 / torch.tensor(found.normalization.scale), theirs.bottleneck.running_std)
    assert found.contradictions == ""


def test_original_names(tmp_path: Path) -> None:
    """Tables of rotary embeddings and an empty vector are beside the weights of the authors' files."""
    layout = layout_of("original", "same")
    assert layout is not None
    names = {
        "encoder.blocks.0.transformers.1.norm_attn.gamma": "encoder.layers.0.transformers.1.pre_norm.gamma",
        "decoder.blocks.0.transformers.0.ff.proj_out.bias": "decoder.layers.3.transformers.0.ff.ff.2.bias",
        "decoder.proj.weight": "decoder.layers.1.weight",
        "encoder.bottleneck.scale": "bottleneck.scaling_factor",
    }
    assert_names(layout, CONFIG, names)
    vae = assemble(family_of("same"), CONFIG, normalization=LatentNormalization((0.0,), (0.5,)))
    save(vae, tmp_path / "original.safetensors", "original")
    tensors = load_file(tmp_path / "original.safetensors")
    tensors |= {"decoder.layers.3.transformers.0.rope.inv_freq": torch.ones(2)}
    tensors |= {"bottleneck.noise_scaling_factor": torch.ones(1, 0, 1)}
    behind = {f"pretransform.model.{key}": tensor for key, tensor in tensors.items()}
    save_file(behind, tmp_path / "whole.safetensors")
    found = identify(tmp_path / "whole.safetensors")
    assert (found.family.name, found.parts[0].ignored) == ("same", 2)
    assert found.normalization == LatentNormalization((0.0,), (0.5,))


def test_wider_convolutions_are_recognized_and_not_run(tmp_path: Path) -> None:
    layout = layout_of("original", "same")
    assert layout is not None
    names = in_layout(layout, native_shapes(CONFIG))
    wide = {"decoder.layers.3.mapping.weight_v": (*names["decoder.layers.3.mapping.weight_v"][:2], 3)}
    save_file({name: torch.zeros(shape) for name, shape in (names | wide).items()}, tmp_path / "small.safetensors")
    with refuses(NotRunnable, "SAME-S"):
        identify(tmp_path / "small.safetensors")


@pytest.mark.parametrize(
    "stated",
    [
        {"encoder_strides": [16, 2]},
        {"encoder_strides": [0]},
        {"sliding_window": "1"},
        {"audio_channels": 7},
        {"sampling_rate": 0},
        {"decoder_sinusoidal_blocks": [1, 2, 3]},
    ],
    ids=str,
)
def test_impossible_settings_are_refused(stated: dict[str, object]) -> None:
    with refuses(UnknownVAE):
        family_of("same").complete(CONFIG, {}, stated)


def test_the_config_is_read_off_names_and_shapes() -> None:
    shapes = native_shapes(CONFIG)
    assert detect_same(shapes) == CONFIG
    for half in ("encoder", "decoder"):
        assert detect_same({key: shape for key, shape in shapes.items() if key.startswith(half)}) == CONFIG
    assert detect_same({}) is None
    assert detect_same(shapes | {"encoder.blocks.0.transformers.0.attn.to_qkv.weight": (150, 32)}) is None
    large = PUBLISHED["SAME-L"]
    layout = layout_of("diffusers", "same")
    assert layout is not None and detected(in_layout(layout, native_shapes(large)))[0] == large
    assert large.geometry.factors == (4096,)


def test_normalizations_are_one_standard_deviation() -> None:
    normalization = normalization_of({STD: torch.tensor([1.6])}, {})
    assert normalization is not None
    assert torch.equal(deviation_of(CONFIG, normalization)[STD], torch.tensor([1.6]))
    assert deviation_of(CONFIG, None) == deviation_of(CONFIG, LatentNormalization((0.1,), (1.0,))) == {}
    assert normalization_of({STD: torch.zeros(1)}, {}) is None
    with refuses(WrongTensors, "AutoencoderSAME"):
        settings(SAMEConfig(2, 6, 8, (32, 48), (16, 2), (1, 1), 2, 8, True), None)

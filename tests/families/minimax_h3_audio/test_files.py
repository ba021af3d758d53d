"""Files of MiniMax-H3's autoencoder of waveforms: names, detection, and the settings of diffusers."""

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
from vaekit.errors import UnknownVAE, WrongTensors
from vaekit.families import assemble, family_of, layout_of
from vaekit.families.minimax_h3_audio.files import FAMILY, detect_minimax_h3_audio, settings
from vaekit.families.minimax_h3_audio.net import MiniMaxH3AudioConfig
from vaekit.identification.identify import identify
from vaekit.identification.resolve import resolve
from vaekit.normalization import LatentNormalization

WEIGHTS = "diffusion_pytorch_model.safetensors"
CONFIG = MiniMaxH3AudioConfig(
    *(4, (4, 8, 16), (2, 5), 16, 8, (12, 6, 3), (5, 2), (9, 4), (3, 5), ((1, 3), (1,)), True, 0)
)
SHAPES = native_shapes(CONFIG)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")  # of diffusers
def test_both_layouts_keep_every_bit_and_diffusers_opens_the_result(
    pair: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    theirs, folder = pair
    found = identify(folder)
    assert (found.family.name, found.contradictions) == ("minimax-h3-audio", "")
    assert FAMILY.audio(found.config) == AudioFormat(theirs.config.sampling_rate, 1)
    save(load(folder), tmp_path / "native.safetensors", "native")
    save(load(tmp_path / "native.safetensors"), tmp_path / "again", "diffusers")
    before, after = load_file(folder / WEIGHTS), load_file(tmp_path / "again" / WEIGHTS)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    build = diffusers.AutoencoderKLMiniMaxH3Audio  # whose from_pretrained needs accelerate
    again = build.from_config(build.load_config(tmp_path / "again"))
    again.load_state_dict(after)
    names = [name for name in theirs.config if not name.startswith("_")]
    assert json.loads(json.dumps({name: again.config[name] for name in names})) == json.loads(
        json.dumps({name: theirs.config[name] for name in names})
    )


def test_the_normalization_is_in_config_json(pair: tuple[nn.Module, Path]) -> None:
    theirs, folder = pair
    found = resolve(identify(folder), measure=False)
    if theirs.config.latents_mean is None:
        assert found.normalization is None
    else:
        expected = LatentNormalization.from_mean_and_std(theirs.config.latents_mean, theirs.config.latents_std)
        assert found.normalization == expected


def test_names() -> None:
    layout = layout_of("diffusers", "minimax-h3-audio")
    assert layout is not None
    names = {
        "encoder.block.1.conv1.weight_v": "encoder.block.2.block.4.weight_v",
        "encoder.conv2.bias": "encoder.block.4.bias",
        "encoder.pre_block.attn.zero_k_bias": "pre_block.attn.zero_k_bias",
        "encoder.mean_proj.weight": "mean_proj.weight",
        "decoder.dec_in_proj.bias": "dec_in_proj.bias",
        "decoder.ups.1.weight_v": "decoder.ups.1.0.weight_v",
        "decoder.resblocks.2.activations.1.downsample.filter": (
            "decoder.resblocks.2.activations.1.downsample.lowpass.filter"
        ),
        "decoder.activation_post.act.beta": "decoder.activation_post.act.beta",
    }
    assert_names(layout, CONFIG, names)


def test_the_config_is_read_off_either_half() -> None:
    assert detect_minimax_h3_audio(SHAPES) == CONFIG
    encoder = {key: shape for key, shape in SHAPES.items() if key.startswith("encoder")}
    found = detect_minimax_h3_audio(encoder)
    assert found is not None
    assert (found.encoder_widths, found.strides, found.heads) == (CONFIG.encoder_widths, CONFIG.strides, 8)
    decoder = {key: shape for key, shape in SHAPES.items() if key.startswith("decoder")}
    found = detect_minimax_h3_audio(decoder)
    assert found is not None
    assert (found.decoder_widths, found.decoder_strides, found.dilations) == ((12, 6, 3), (5, 2), ((1, 3), (1,)))
    assert (found.encoder_widths, found.strides) == ((3, 6, 12), (2, 5))
    assert detect_minimax_h3_audio({}) is None
    rest = {key: shape for key, shape in SHAPES.items() if "dec_in_proj" not in key and "_proj" not in key}
    assert detect_minimax_h3_audio(rest) is None
    assert detect_minimax_h3_audio(SHAPES | {"decoder.ups.0.weight_v": (12, 6, 4)}) is None


@pytest.mark.parametrize(
    "key", ["encoder.pre_block.attn.q_bias", "encoder.mean_proj.weight", "decoder.resblocks.1.activations.0.act.alpha"]
)
def test_a_missing_tensor_is_named(key: str, tmp_path: Path) -> None:
    tensors = assemble(family_of("minimax-h3-audio"), CONFIG).state_dict()
    del tensors[key]
    save_file(tensors, tmp_path / "damaged.safetensors")
    with refuses(WrongTensors, "minimax-h3-audio", key):
        identify(tmp_path / "damaged.safetensors")


def test_stated_settings(tmp_path: Path) -> None:
    config = replace(CONFIG, heads=2, dilations=((1, 2), (4,)), sample_rate=16_000)
    save(assemble(family_of("minimax-h3-audio"), config), tmp_path / "x", "diffusers")
    assert load(tmp_path / "x").config == config
    stated = json.loads((tmp_path / "x" / "config.json").read_text())
    save_file(load_file(tmp_path / "x" / WEIGHTS), tmp_path / "x" / WEIGHTS)  # without vaekit's metadata
    assert identify(tmp_path / "x").config == config
    (tmp_path / "x" / "config.json").write_text(json.dumps(stated | {"num_attention_heads": 3}))
    with refuses(UnknownVAE, "3 heads"):
        identify(tmp_path / "x")
    alone = identify(tmp_path / "x" / WEIGHTS).config
    assert alone == replace(CONFIG, dilations=((1, 3), (1,))) and len(FAMILY.assumed(alone)) == 2


@pytest.mark.parametrize(
    "config",
    [
        replace(CONFIG, encoder_widths=(4, 8, 8)),
        replace(CONFIG, decoder_widths=(12, 6, 6)),
        replace(CONFIG, weight_norm=False),
        replace(CONFIG, latent_channels=5),
    ],
)
def test_what_diffusers_cannot_express_is_refused(config: MiniMaxH3AudioConfig) -> None:
    with refuses(WrongTensors, "AutoencoderKLMiniMaxH3Audio"):
        settings(config, None)

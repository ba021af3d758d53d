"""Files of LTX-2's audio autoencoder: names, the vocoder beside it, and the settings of diffusers."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLLTX2Audio
from refusals import refuses
from safetensors.torch import load_file, save_file
from shapes_of_configs import assert_names, in_layout, native_shapes
from torch import nn

from vaekit import load, save
from vaekit.audio_format import AudioFormat
from vaekit.errors import UnknownVAE, WrongTensors
from vaekit.families import assemble, family_of, layout_of
from vaekit.families.ltx_audio.files import detect_ltx_audio, settings
from vaekit.families.ltx_audio.net import LTXAudioConfig
from vaekit.families.vocoders import VocoderConfig
from vaekit.identification.identify import identify
from vaekit.identification.inspect import inspect_path

Pair = tuple[nn.Module, nn.Module | None, Path]
WEIGHTS = "diffusion_pytorch_model.safetensors"
VOCODER = VocoderConfig(32, 32, 2, (16, 15, 8, 4, 4), (6, 5, 2, 2, 2), (3,), ((1, 3),))
CONFIG = LTXAudioConfig(2, 4, (16, 32, 32), 1, bins=16, vocoder=VOCODER)
RATES = {"LTX2Vocoder": 24000, "LTX2VocoderWithBWE": 48000, "NoneType": 16000}


def test_a_folder_is_read_with_the_vocoder_beside_it(pair: Pair) -> None:
    theirs, vocoder, folder = pair
    found = identify(folder)
    assert (found.family.name, found.halves, found.config.bins) == ("ltx-audio", ("encoder", "decoder"), 16)
    assert (found.config.vocoder is None) == (vocoder is None)
    assert found.family.audio(found.config) == AudioFormat(RATES[type(vocoder).__name__], 2)
    assert ("Griffin-Lim" in found.note) == (vocoder is None)
    assert any("Griffin-Lim" in problem for problem in inspect_path(folder).problems) == (vocoder is None)
    assert found.normalization is not None
    torch.testing.assert_close(torch.tensor(found.normalization.shift), theirs.latents_mean)


def test_layouts_keep_every_bit_and_diffusers_opens_the_result(pair: Pair, tmp_path: Path) -> None:
    """Also what weights do not determine, such as the factors of the vocoder."""
    theirs, vocoder, folder = pair
    first = load(folder)
    save(first, tmp_path / "native.safetensors", "native")
    save(load(tmp_path / "native.safetensors"), tmp_path / "original.safetensors", "original")
    again = load(tmp_path / "original.safetensors")
    save(again, tmp_path / "again", "diffusers")
    last = load(tmp_path / "again")
    assert first.config == again.config == last.config
    before, after = first.state_dict(), last.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    written = load_file(tmp_path / "again" / WEIGHTS)
    assert all(torch.equal(written[key], tensor) for key, tensor in load_file(folder / WEIGHTS).items())
    if vocoder is None:
        reopened = AutoencoderKLLTX2Audio.from_pretrained(tmp_path / "again")
        assert torch.equal(reopened.decoder.conv_in.conv.weight, theirs.decoder.conv_in.conv.weight)
        mine, stated = (json.loads((each / "config.json").read_text()) for each in (tmp_path / "again", folder))
        assert mine.items() <= stated.items()


def test_a_pipeline_without_a_video_autoencoder_is_opened_by_its_folder(pair: Pair, tmp_path: Path) -> None:
    shutil.copytree(pair[2].parent, tmp_path / "pipeline")
    (tmp_path / "pipeline" / "model_index.json").write_text("{}")
    assert identify(tmp_path / "pipeline").config == identify(pair[2]).config


def test_a_foreign_or_broken_vocoder_is_left_out(pair: Pair, tmp_path: Path) -> None:
    shutil.copytree(pair[2], tmp_path / "audio_vae")
    (tmp_path / "vocoder").mkdir()
    (tmp_path / "vocoder" / "config.json").write_text("{}")
    for content in (b"", b"{}" * 50):
        (tmp_path / "vocoder" / WEIGHTS).write_bytes(content)
        assert load(tmp_path / "audio_vae").config.vocoder is None
    save_file({"conv_pre.weight": torch.zeros(2, 2, 7)}, tmp_path / "vocoder" / WEIGHTS)
    assert load(tmp_path / "audio_vae").config.vocoder is None


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_a_half_is_read_alone(half: str, tmp_path: Path) -> None:
    vae = assemble(family_of("ltx-audio"), CONFIG)
    tensors = {key: tensor for key, tensor in vae.state_dict().items() if key.startswith(half)}
    save_file(tensors, tmp_path / "half.safetensors")
    found = identify(tmp_path / "half.safetensors")
    assert (found.family.name, found.halves) == ("ltx-audio", (half,))
    assert found.config.widths == CONFIG.widths


def test_a_damaged_vocoder_is_named(tmp_path: Path) -> None:
    tensors = assemble(family_of("ltx-audio"), CONFIG).state_dict()
    del tensors["decoder.vocoder.resnets.0.convs2.1.bias"]
    save_file(tensors, tmp_path / "damaged.safetensors")
    with refuses(WrongTensors, "ltx-audio", "resnets.0.convs2.1.bias"):
        identify(tmp_path / "damaged.safetensors")


@pytest.mark.parametrize(
    "changed",
    [{"norm_type": "group"}, {"causality_axis": "width"}, {"mel_bins": 18}, {"mel_hop_length": 161}],
    ids=str,
)
def test_impossible_settings_are_refused(changed: dict[str, object], pair: Pair, tmp_path: Path) -> None:
    if pair[1] is None or "mel_bins" in changed:
        pytest.skip("without a vocoder, any hop has a whole number of Hz; with one, it has the bins")
    shutil.copytree(pair[2].parent, tmp_path / "changed")
    path = tmp_path / "changed" / "audio_vae" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    with refuses(UnknownVAE):
        identify(tmp_path / "changed" / "audio_vae")


@pytest.mark.parametrize("factors", [[6, 5, 2, 2], [6, 5, 2, 2, 0], [6, 5, 2, 2, 9], "65222"], ids=str)
def test_factors_of_a_vocoder_fit_its_kernels(factors: object) -> None:
    with refuses(UnknownVAE):
        family_of("ltx-audio").complete(CONFIG, {}, {"vocoder": {"upsample_factors": factors}})


def test_the_config_is_read_off_names_and_shapes() -> None:
    shapes = native_shapes(CONFIG)
    assert detect_ltx_audio(shapes) == CONFIG
    assert detect_ltx_audio({}) is None
    assert detect_ltx_audio(shapes | {"decoder.vocoder.conv_in.weight": (32, 34, 7)}) is None
    assert detect_ltx_audio(shapes | {"encoder.down.3.block.0.conv1.conv.weight": (32, 32, 3, 3)}) is None
    names = {
        "encoder.down.0.downsample.conv.weight": "audio_vae.encoder.down.0.downsample.conv.weight",
        "decoder.vocoder.resnets.0.convs1.1.bias": "vocoder.resblocks.0.convs1.1.bias",
        "decoder.vocoder.upsamplers.0.weight": "vocoder.ups.0.weight",
    }
    layout = layout_of("original", "ltx-audio")
    assert layout is not None
    assert_names(layout, CONFIG, names)


def test_a_vocoder_does_not_count_against_a_larger_autoencoder() -> None:
    """In whole checkpoints of LTX-2, the video autoencoder is taken, although the vocoder has more tensors."""
    layout = layout_of("original", "ltx-audio")
    assert layout is not None
    names = in_layout(layout, native_shapes(CONFIG))
    outside = sum(name.startswith("vocoder.") for name in names)
    assert outside and layout.prefixes(names) == {"": len(names) - outside}
    assert layout.counts_beside(names) == {"": outside}


def test_other_widths_are_refused_by_diffusers() -> None:
    with refuses(WrongTensors, "AutoencoderKLLTX2Audio"):
        settings(LTXAudioConfig(2, 4, (32, 48, 64), 1), None)

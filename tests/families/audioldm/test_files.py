"""Files of AudioLDM: names, the vocoder beside it, and what tells it from autoencoders of images."""

import json
from pathlib import Path

import pytest
import torch
from refusals import refuses
from safetensors.torch import load_file, save_file
from shapes_of_configs import assert_names, detected, in_layout, layouts_for, native_shapes
from torch import nn

from vaekit import load, save
from vaekit.audio_format import AudioFormat
from vaekit.errors import UnknownVAE, WrongTensors
from vaekit.families import assemble, family_of, layout_of
from vaekit.families.audioldm.files import detect_audioldm, settings
from vaekit.families.audioldm.net import AudioLDMConfig
from vaekit.families.kl.net import KLConfig
from vaekit.families.vocoders import VocoderConfig
from vaekit.identification.identify import identify
from vaekit.identification.inspect import inspect_path
from vaekit.normalization import LatentNormalization

Pair = tuple[nn.Module, nn.Module, Path]
WEIGHTS = "diffusion_pytorch_model.safetensors"
WIDTHS = (128, 256, 512)
BARE = AudioLDMConfig(1, 8, 8, WIDTHS, WIDTHS, 2, 3, (), (), True, True, True, 32)
VOCODER = VocoderConfig(8, 8, 1, (8, 4), (4, 2), (3,), ((1, 3),))
SMALL = AudioLDMConfig(
    *(1, 2, 2, (32, 32), (32, 32), 1, 2, (), (), True, True, True, 32), bins=8, hop=8, vocoder=VOCODER
)


def test_a_pipeline_is_read_with_its_vocoder(pair: Pair) -> None:
    for path in (pair[2], pair[2] / "vae"):
        found = identify(path)
        assert (found.family.name, found.config.bins, found.note) == ("audioldm", 16, "")
        assert found.family.audio(found.config) == AudioFormat(16000, 1)
        assert found.normalization == LatentNormalization((0.0,), (0.9,))


def test_layouts_keep_every_bit_and_what_weights_do_not_tell(pair: Pair, tmp_path: Path) -> None:
    first = load(pair[2])
    save(first, tmp_path / "native.safetensors", "native")
    save(load(tmp_path / "native.safetensors"), tmp_path / "ldm.safetensors", "ldm")
    save(load(tmp_path / "ldm.safetensors"), tmp_path / "again", "diffusers")
    last = load(tmp_path / "again")
    assert first.config == last.config and first.normalization == last.normalization
    written = load_file(tmp_path / "again" / WEIGHTS)
    assert all(torch.equal(written[key], tensor) for key, tensor in load_file(pair[2] / "vae" / WEIGHTS).items())
    vocoder = load_file(pair[2] / "vocoder" / "model.safetensors")
    assert all(torch.equal(written[f"vocoder.{key}"], tensor) for key, tensor in vocoder.items())
    mine = json.loads((tmp_path / "again" / "config.json").read_text())["vocoder"]
    stated = json.loads(json.dumps(pair[1].config.to_dict()))
    assert {**stated, **mine, "architectures": None} == {**stated, "architectures": None}


def test_the_autoencoder_alone_is_one_of_images_unless_it_is_audioldm(pair: Pair, tmp_path: Path) -> None:
    """Its file alone has no folder beside it, and four latent channels."""
    assert identify(pair[2] / "vae" / WEIGHTS).family.name == "kl"
    layout = layout_of("diffusers", "audioldm")
    assert layout is not None
    names = in_layout(layout, native_shapes(BARE))
    assert detected(names)[0] == BARE
    kl = KLConfig(3, 8, 8, WIDTHS, WIDTHS, 2, 3, (), (), True, True, True, 32)
    for other in (kl, KLConfig(1, 4, 4, WIDTHS, WIDTHS, 2, 3, (), (), True, True, True, 32)):
        for each in layouts_for(other):
            assert detected(in_layout(each, native_shapes(other)))[0] == other


def test_a_vocoder_beside_an_autoencoder_of_color_images_is_ignored(pair: Pair, tmp_path: Path) -> None:
    config = KLConfig(3, 4, 4, (32, 64), (32, 64), 1, 2, (), (), True, True, True, 32)
    save(assemble(family_of("kl"), config), tmp_path / "vae", "diffusers")
    (tmp_path / "vocoder").symlink_to(pair[2] / "vocoder")
    assert identify(tmp_path / "vae").config == config
    assert identify(tmp_path).config == config


def test_a_small_autoencoder_needs_its_vocoder(tmp_path: Path) -> None:
    """Without one, nothing tells it from an autoencoder of grayscale images; AudioLDM's own has a note then."""
    vae = assemble(family_of("audioldm"), SMALL)
    assert (SMALL.geometry.factors, SMALL.geometry.least_positions) == ((16,), 64)
    tensors = {key: each for key, each in vae.state_dict().items() if ".vocoder." not in key}
    save_file(tensors, tmp_path / "file.safetensors")
    with refuses(UnknownVAE):
        identify(tmp_path / "file.safetensors")
    assert "Griffin-Lim" in family_of("audioldm").limits(BARE)[0]


@pytest.mark.parametrize("layout", ["ldm", "native", "diffusers"])
def test_names(layout: str) -> None:
    found = layout_of(layout, "audioldm")
    assert found is not None
    assert detected(in_layout(found, native_shapes(SMALL), "" if layout == "native" else "first_stage_model."))
    up = {"ldm": "vocoder.ups.1.weight", "diffusers": "vocoder.upsampler.1.weight"}
    assert_names(
        found, SMALL, {"decoder.vocoder.upsamplers.1.weight": up.get(layout, "decoder.vocoder.upsamplers.1.weight")}
    )


def test_the_config_is_read_off_names_and_shapes() -> None:
    shapes = native_shapes(SMALL)
    assert detect_audioldm(shapes) == SMALL
    assert detect_audioldm({}) is None
    assert detect_audioldm(shapes | {"decoder.vocoder.conv_in.weight": (8, 7, 7)}) is None
    assert detect_audioldm(shapes | {"decoder.vocoder.conv_out.weight": (2, 2, 7)}) is None


def test_what_diffusers_cannot_express_is_refused() -> None:
    with refuses(WrongTensors, "AutoencoderKL"):
        settings(BARE, LatentNormalization((0.5,), (0.9,)))


def test_inspection_of_a_pipeline(pair: Pair) -> None:
    record = inspect_path(pair[2])
    assert record.family == "audioldm" and record.format == "safetensors"
    assert record.geometry is not None and record.geometry.axes == 1

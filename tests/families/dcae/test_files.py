"""Files of deep compression autoencoders: the authors' own names with q, k and v in one tensor, and diffusers'."""

import dataclasses
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderDC
from diffusers.loaders.single_file_utils import convert_autoencoder_dc_checkpoint_to_diffusers
from refusals import lacks, refuses
from safetensors.torch import load_file, save_file
from shapes_of_configs import assert_names
from torch import Tensor

from vaekit.catalog.entries import matching_latent_spaces
from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.errors import BadCheckpoint, UnknownVAE, WrongTensors
from vaekit.families import Config, layout_of
from vaekit.families.dcae.files import from_settings, is_valid, original, settings, with_stated_fields
from vaekit.families.dcae.net import DCAEConfig
from vaekit.identification.identify import identify
from vaekit.library.inspect import inspect
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE

NONE = ((), (), ())
MIX = DCAEConfig(
    image_channels=3,
    latent_channels=8,
    encoder_widths=(16, 16, 32),
    decoder_widths=(16, 16, 32),
    encoder_blocks=(0, 4, 2),
    decoder_blocks=(0, 5, 2),
    encoder_attention=(2,),
    decoder_attention=(2,),
    encoder_scales=NONE,
    decoder_scales=NONE,
    decoder_batch_norm=(1,),
    downsample="pixel_unshuffle",
    upsample="pixel_shuffle",
    head_width=32,
    decoder_relu=(1,),
    decoder_out_activation="relu",
    encoder_out_shortcut=True,
    decoder_in_shortcut=True,
)
SANA = dataclasses.replace(
    MIX,
    encoder_widths=(8, 16, 32),
    decoder_widths=(8, 16, 32),
    encoder_blocks=(2, 2, 3),
    decoder_blocks=(3, 3, 3),
    encoder_scales=((), (), (5,)),
    decoder_scales=((), (), (5,)),
    decoder_batch_norm=(),
    decoder_relu=(),
    downsample="conv",
    upsample="interpolate",
)
BARE = dataclasses.replace(
    MIX,
    encoder_blocks=(0, 5, 2),
    encoder_attention=(),
    decoder_attention=(),
    decoder_batch_norm=(),
    decoder_relu=(),
    decoder_out_activation="silu",
    encoder_out_shortcut=False,
    decoder_in_shortcut=False,
)
SMALL = {"sana": SANA, "in and mix": MIX, "1.5": BARE}
NORMALIZATION = LatentNormalization((0.0,), (0.41407,))
PLACES = {"native": "x.safetensors", "original": "x.safetensors", "diffusers": "folder"}
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
Make = Callable[[Config, LatentNormalization | None], VAE]


@pytest.fixture
def make(random_vae: Make) -> Callable[[str], VAE]:
    """A small VAE of a published kind, with batch-norm statistics that are those of no new network."""

    def made(name: str) -> VAE:
        vae = random_vae(SMALL[name], NORMALIZATION)
        for i, (key, tensor) in enumerate(vae.named_buffers()):
            tensor.fill_(i + 1) if key.endswith("tracked") else tensor.uniform_(0.5, 1.5)
        return vae

    return made


def assert_same(a: VAE, b: VAE) -> None:
    theirs, ours = a.state_dict(), b.state_dict()
    assert list(theirs) == list(ours)
    for key in ours:
        assert theirs[key].dtype == ours[key].dtype
        assert torch.equal(theirs[key], ours[key])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", PLACES)
@pytest.mark.parametrize("name", SMALL)
def test_every_layout_keeps_every_bit(
    make: Callable[[str], VAE], name: str, layout: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    vae, path = make(name).to(dtype), tmp_path / PLACES[layout]
    save(vae, path, layout)
    seen = identify(path)
    assert (seen.family.name, seen.layout, seen.config, seen.normalization) == (
        "dcae",
        layout,
        SMALL[name],
        NORMALIZATION,
    )
    assert_same(vae, load(path))


def test_a_vae_from_fused_tensors_can_be_saved_again(make: Callable[[str], VAE], tmp_path: Path) -> None:
    """Its q, k and v are views of one tensor in a mapped file."""
    vae = make("sana")
    save(vae, tmp_path / "a.safetensors", "original")
    save(load(tmp_path / "a.safetensors"), tmp_path / "b.safetensors", "native")
    save(load(tmp_path / "b.safetensors"), tmp_path / "c.safetensors", "original")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "c.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["sana", "in and mix"])
def test_the_original_names_are_those_that_diffusers_converts(
    make: Callable[[str], VAE], name: str, tmp_path: Path
) -> None:
    vae = make(name)
    save(vae, tmp_path / "x.safetensors", "original")
    save(vae, tmp_path / "folder", "diffusers")
    held = load_file(tmp_path / "x.safetensors")
    assert "decoder.stages.1.op_list.0.main.conv.conv.bias" in held
    assert ("encoder.project_in.conv.bias" in held) == (name == "sana")
    assert held["encoder.stages.2.op_list.0.context_module.main.qkv.conv.weight"].shape == (96, 32, 1, 1)
    converted = convert_autoencoder_dc_checkpoint_to_diffusers(held)
    expected = load_file(tmp_path / "folder" / "diffusion_pytorch_model.safetensors")
    assert converted.keys() == expected.keys()
    assert all(torch.equal(converted[key], expected[key]) for key in expected)
    with torch.device("meta"):
        model = AutoencoderDC(**json.loads((tmp_path / "folder" / "config.json").read_text()))
    model.load_state_dict(converted, strict=True, assign=True)


@pytest.mark.parametrize("shortcut", [True, False])
@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_original_names_tell_the_shortcuts(
    make: Callable[[str], VAE], shortcut: bool, part: str, tmp_path: Path
) -> None:
    """No other name does: a file with diffusers' names and without a config.json is taken for a published model."""
    name = "in and mix" if shortcut else "1.5"
    save(make(name), tmp_path / "x.safetensors", "original")
    held = load_file(tmp_path / "x.safetensors")
    save_file({key: tensor for key, tensor in held.items() if key.startswith(part)}, tmp_path / "half.safetensors")
    config = identify(tmp_path / "half.safetensors").config
    assert (config.encoder_out_shortcut, config.decoder_in_shortcut) == (shortcut, shortcut)


def test_original_names_for_one_shortcut_of_two_do_not_exist(random_vae: Make, tmp_path: Path) -> None:
    vae = random_vae(dataclasses.replace(MIX, decoder_in_shortcut=False), None)
    with refuses(WrongTensors, "native", "diffusers"):
        save(vae, tmp_path / "x.safetensors", "original")
    with refuses(WrongTensors, "ldm", "dcae"):
        save(vae, tmp_path / "x.safetensors", "ldm")


def shuffled(tensors: dict[str, Tensor], prefix: str, cast: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    names = list(tensors)
    random.Random(1).shuffle(names)
    return {prefix + name: cast(tensors[name]) for name in names}


@pytest.mark.parametrize("layout", PLACES)
@pytest.mark.parametrize("name", SMALL)
def test_a_shuffled_prefixed_half_precision_copy_is_recognized(
    make: Callable[[str], VAE], name: str, layout: str, tmp_path: Path
) -> None:
    """Such copies are made by casting whatever is there, the counters of batch norms too."""
    vae = make(name)
    save(vae, tmp_path / "a.safetensors", layout)
    copy = shuffled(load_file(tmp_path / "a.safetensors"), "first_stage_model.", lambda tensor: tensor.half())
    torch.save({"state_dict": copy}, tmp_path / "b.ckpt")
    loaded, expected = load(tmp_path / "b.ckpt"), vae.half().state_dict()
    assert all(torch.equal(tensor, expected[key].half()) for key, tensor in loaded.state_dict().items())
    seen = inspect(tmp_path / "b.ckpt")
    assert (seen.layout, seen.prefix, seen.dtypes) == (layout, "first_stage_model.", ("float16",))


@pytest.mark.parametrize("half", ["encoder", "decoder"])
@pytest.mark.parametrize("layout", PLACES)
@pytest.mark.parametrize("name", SMALL)
def test_half_a_file_is_that_half(
    make: Callable[[str], VAE], name: str, layout: str, half: str, tmp_path: Path
) -> None:
    vae = make(name)
    save(vae, tmp_path / "whole.safetensors", layout)
    held = load_file(tmp_path / "whole.safetensors")
    save_file({key: tensor for key, tensor in held.items() if key.startswith(half)}, tmp_path / "half.safetensors")
    seen = identify(tmp_path / "half.safetensors")
    assert seen.halves == (half,)
    fields = ("geometry", f"{half}_widths", f"{half}_blocks", f"{half}_scales")
    assert all(getattr(seen.config, field) == getattr(SMALL[name], field) for field in fields)
    setattr(vae, "decoder" if half == "encoder" else "encoder", None)
    assert_same(vae, load(tmp_path / "half.safetensors"))


@pytest.mark.parametrize("name", SMALL)
def test_the_missing_half_is_taken_to_be_as_published(name: str, make: Callable[[str], VAE], tmp_path: Path) -> None:
    save(make(name), tmp_path / "x.safetensors", "original")
    held = load_file(tmp_path / "x.safetensors")
    for half, other in (("encoder", "decoder"), ("decoder", "encoder")):
        save_file({key: tensor for key, tensor in held.items() if key.startswith(half)}, tmp_path / "half.safetensors")
        config = identify(tmp_path / "half.safetensors").config
        assert getattr(config, f"{other}_blocks") == getattr(SMALL[name], f"{other}_blocks")


KINDS = {
    "DC-AE f32c32 Sana (1.0, 1.1)": (32, (2, 2, 2, 3, 3, 3), (3, 3, 3, 3, 3, 3), 0.41407),
    "DC-AE Lite f32c32 (latents of Sana)": (32, (2, 2, 2, 3, 3, 3), (0, 3, 5, 4, 4, 4), 0.41407),
    "DC-AE f64c128 1.5": (128, (0, 5, 10, 4, 4, 4, 4), (0, 5, 10, 4, 4, 4, 4), 0.5935),
}
TWINS = {
    "f32c32": (32, (0, 4, 8, 2, 2, 2), (0, 5, 10, 2, 2, 2), 0.3189, 0.4552),
    "f64c128": (128, (0, 4, 8, 2, 2, 2, 2), (0, 5, 10, 2, 2, 2, 2), 0.2889, 0.4538),
    "f128c512": (512, (0, 4, 8, 2, 2, 2, 2, 2), (0, 5, 10, 2, 2, 2, 2, 2), 0.4883, 0.362),
}


def blocks_of(channels: int, encoder: tuple[int, ...], decoder: tuple[int, ...]) -> DCAEConfig:
    return dataclasses.replace(MIX, latent_channels=channels, encoder_blocks=encoder, decoder_blocks=decoder)


@pytest.mark.parametrize("name", KINDS)
def test_kinds_with_shapes_of_their_own_have_their_normalization(name: str) -> None:
    *facts, scale = KINDS[name]
    (space,) = matching_latent_spaces("dcae", blocks_of(*facts))
    assert (space.name, space.normalization) == (name, LatentNormalization((0.0,), (scale,)))


@pytest.mark.parametrize("size", TWINS)
def test_in_and_mix_of_one_size_are_twins(size: str) -> None:
    *facts, imagenet, mix = TWINS[size]
    found = {space.name: space.normalization for space in matching_latent_spaces("dcae", blocks_of(*facts))}
    assert found == {
        f"DC-AE {size} in": LatentNormalization((0.0,), (imagenet,)),
        f"DC-AE {size} mix": LatentNormalization((0.0,), (mix,)),
    }


TWIN_BLOCKS = {"encoder_blocks": (0, 4, 8, 2, 2, 2), "decoder_blocks": (0, 5, 10, 2, 2, 2), "latent_channels": 32}
TWIN = dataclasses.replace(
    MIX,
    **TWIN_BLOCKS,
    **{f"{half}_widths": (8, 8, 8, 32, 32, 32) for half in ("encoder", "decoder")},
    **{f"{half}_attention": (3, 4, 5) for half in ("encoder", "decoder")},
    **{f"{half}_scales": ((),) * 6 for half in ("encoder", "decoder")},
    decoder_batch_norm=(1, 2),
    decoder_relu=(1, 2),
)


def test_the_config_beside_the_authors_own_file_names_the_twin(random_vae: Make, tmp_path: Path) -> None:
    vae = random_vae(TWIN, None)
    save(vae, tmp_path / "model.safetensors", "original")
    plain = load_file(tmp_path / "model.safetensors")
    save_file(plain, tmp_path / "model.safetensors")
    seen = identify(tmp_path)
    assert seen.normalization is None
    assert not lacks(seen.normalization_source, "DC-AE f32c32 in", "DC-AE f32c32 mix")
    for model, scale in (("in", 0.3189), ("mix", 0.4552)):
        (tmp_path / "config.json").write_text(json.dumps({"model_name": f"dc-ae-f32c32-{model}-1.0"}))
        seen = identify(tmp_path)
        assert seen.normalization == LatentNormalization((0.0,), (scale,))
        assert [space.name for space in seen.latent_spaces] == [f"DC-AE f32c32 {model}"]
    (tmp_path / "config.json").write_text(json.dumps({"model_name": "dc-ae-f64c128-in-1.0"}))
    assert identify(tmp_path).normalization is None


def written(vae: VAE, folder: Path, **settings: object) -> Path:
    """A diffusers folder whose config.json says something else."""
    save(vae, folder, "diffusers")
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(told | settings))
    return folder


def test_config_json_tells_what_weights_do_not(make: Callable[[str], VAE], tmp_path: Path) -> None:
    folder = written(
        make("in and mix"),
        tmp_path / "x",
        decoder_act_fns="silu",
        decoder_conv_act_fn="silu",
        encoder_out_shortcut=False,
        decoder_in_shortcut=False,
        attention_head_dim=16,
    )
    assert identify(folder).config == dataclasses.replace(
        MIX,
        decoder_relu=(),
        decoder_out_activation="silu",
        encoder_out_shortcut=False,
        decoder_in_shortcut=False,
        head_width=16,
    )


@pytest.mark.parametrize(
    "nonsense",
    [
        {"decoder_act_fns": 5, "decoder_conv_act_fn": None},
        {"decoder_act_fns": ["relu"]},
        {"encoder_out_shortcut": "yes", "decoder_in_shortcut": 1},
        {"decoder_act_fns": [["relu"], {}, None]},
    ],
)
def test_nonsense_in_a_config_json_is_ignored(
    make: Callable[[str], VAE], nonsense: dict[str, object], tmp_path: Path
) -> None:
    config = identify(written(make("in and mix"), tmp_path / "x", **nonsense)).config
    assert dataclasses.replace(config, decoder_relu=(1,)) == MIX


def test_what_no_network_can_be_is_refused(make: Callable[[str], VAE], tmp_path: Path) -> None:
    with refuses(UnknownVAE, "7"):
        identify(written(make("in and mix"), tmp_path / "a", attention_head_dim=7))
    with refuses(UnknownVAE, "gelu"):
        identify(written(make("in and mix"), tmp_path / "b", decoder_act_fns="gelu"))
    for impossible in (-32, True):
        with refuses(BadCheckpoint, "attention_head_dim"):
            identify(written(make("in and mix"), tmp_path / str(impossible), attention_head_dim=impossible))


def test_a_missing_part_is_named_as_the_file_would(make: Callable[[str], VAE], tmp_path: Path) -> None:
    save(make("sana"), tmp_path / "x.safetensors", "original")
    held = load_file(tmp_path / "x.safetensors")
    key = "encoder.stages.2.op_list.1.context_module.main.qkv.conv.weight"
    save_file({name: tensor for name, tensor in held.items() if name != key}, tmp_path / "less.safetensors")
    with refuses(WrongTensors, "3", "encoder.stages.2", "qkv.conv.weight[0/3]"):
        load(tmp_path / "less.safetensors")


@pytest.mark.parametrize("shape", [(95, 32, 1, 1), (96, 31, 1, 1), (0, 32, 1, 1), ()])
def test_a_fused_tensor_of_another_shape_is_refused(
    make: Callable[[str], VAE], shape: tuple[int, ...], tmp_path: Path
) -> None:
    save(make("sana"), tmp_path / "x.safetensors", "original")
    held = load_file(tmp_path / "x.safetensors")
    held["decoder.stages.2.op_list.1.context_module.main.qkv.conv.weight"] = torch.zeros(shape)
    save_file(held, tmp_path / "odd.safetensors")
    with refuses(WrongTensors, "op_list.1.context_module.main.qkv.conv.weight"):
        load(tmp_path / "odd.safetensors")


def test_inspect_counts_weights_and_no_counters(make: Callable[[str], VAE], tmp_path: Path) -> None:
    vae = make("in and mix")
    save(vae, tmp_path / "x.safetensors", "original")
    seen = inspect(tmp_path / "x.safetensors")
    held = [tensor for tensor in vae.state_dict().values() if tensor.is_floating_point()]
    assert (seen.parameters, seen.dtypes) == (sum(tensor.numel() for tensor in held), ("float32",))
    assert len(seen.problems) == 1


# ------------------------------------------------------------------------------------ names and settings, without files


def test_the_settings_of_diffusers_tell_the_config_again() -> None:
    result = settings(SANA, NORMALIZATION)
    assert result["_class_name"] == "AutoencoderDC"
    assert result["scaling_factor"] == 0.41407
    assert result["encoder_block_types"] == ["ResBlock", "ResBlock", "EfficientViTBlock"]
    assert (result["downsample_block_type"], result["upsample_block_type"]) == ("Conv", "interpolate")
    assert result["encoder_qkv_multiscales"] == [[], [], [5]]
    mix = settings(MIX, None)
    assert mix["decoder_norm_types"] == ["rms_norm", "batch_norm", "rms_norm"]
    assert mix["decoder_act_fns"] == ["silu", "relu", "silu"]
    assert mix["downsample_block_type"] == "pixel_unshuffle"
    other = dataclasses.replace(MIX, decoder_relu=(), decoder_out_activation="silu", head_width=16)
    assert with_stated_fields(other, {}, mix) == MIX
    with refuses(WrongTensors, "AutoencoderDC"):
        settings(SANA, LatentNormalization((0.5,), (1.0,)))


def test_metadata_precedes_a_config_json() -> None:
    told = with_stated_fields(MIX, {"head_width": 8, "decoder_relu": [1, 1]}, {"attention_head_dim": 16})
    assert (told.head_width, told.decoder_relu) == (8, (1,))
    assert from_settings(MIX, {"decoder_act_fns": "relu"})["decoder_relu"] == [1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("head_width", 0),
        ("head_width", True),
        ("decoder_relu", (1,)),
        ("decoder_relu", [2]),
        ("decoder_relu", [True]),
        ("decoder_out_activation", "gelu"),
        ("encoder_out_shortcut", 1),
    ],
)
def test_values_that_no_field_can_have(name: str, value: object) -> None:
    assert not is_valid(MIX, name, value)


def test_a_shortcut_needs_a_width_that_the_latent_divides() -> None:
    odd = dataclasses.replace(MIX, latent_channels=5)
    assert is_valid(MIX, "decoder_in_shortcut", True)
    assert not is_valid(odd, "decoder_in_shortcut", True) and is_valid(odd, "decoder_in_shortcut", False)


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (SANA, ("encoder.project_out.main.op_list.0.conv.bias", "encoder.stages.1.op_list.2.main.conv.bias")),
        (MIX, ("encoder.project_out.main.op_list.0.conv.bias", "encoder.stages.1.op_list.4.main.conv.conv.bias")),
        (BARE, ("encoder.project_out.op_list.0.conv.bias", "encoder.stages.1.op_list.5.main.conv.conv.bias")),
    ],
)
def test_original_names_follow_the_config(config: DCAEConfig, names: tuple[str, str]) -> None:
    layout = layout_of("original", "dcae", config)
    assert layout == original(config.downsample, config.encoder_out_shortcut)
    down = f"encoder.stages.1.{config.encoder_blocks[1]}.conv.bias"
    assert_names(layout, config, dict(zip(("encoder.conv_out.bias", down), names, strict=True)))


def test_names_of_diffusers() -> None:
    layout = layout_of("diffusers", "dcae")
    assert layout is not None
    scale = "decoder.stages.2.1.attn.scales.0.1.weight"
    assert_names(layout, SANA, {scale: "decoder.up_blocks.2.1.attn.to_qkv_multiscale.0.proj_out.weight"})
    assert layout.is_matrix("decoder.stages.2.1.attn.q.weight") and not layout.is_matrix(scale)

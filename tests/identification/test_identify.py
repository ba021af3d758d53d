"""Which VAE is where, and how its normalization is known: told by the file, told by its shapes, or not known."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from refusals import refuses
from safetensors.torch import load_file, save_file
from torch import Tensor

from vaekit.checkpoints.save import DIFFUSERS_WEIGHTS, save
from vaekit.errors import BadCheckpoint, NotFound, UnknownVAE, VaekitError, WrongTensors
from vaekit.families import family_of
from vaekit.families.kl.net import KLConfig
from vaekit.formats.open import TensorFile, TensorSpec
from vaekit.identification.identify import identify
from vaekit.vae import VAE


def kept(kl_vae: VAE, path: Path, layout: str = "ldm") -> dict[str, Tensor]:
    """The tensors of a saved VAE without the metadata that vaekit adds."""
    save(kl_vae, path, layout)
    return load_file(path)


def test_only_the_vae_of_a_whole_checkpoint_counts(kl_vae: VAE, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    inside = {f"first_stage_model.{key}": tensor for key, tensor in kept(kl_vae, path).items()}
    around = {f"model.diffusion_model.input_blocks.{i}.0.weight": torch.ones(2) for i in range(300)}
    text = {f"cond_stage_model.transformer.text_model.encoder.layers.{i}.mlp.fc1.bias": torch.ones(2) for i in range(9)}
    save_file(inside | around | text | {"alphas_cumprod": torch.ones(3)}, path)
    identified = identify(path)
    assert (identified.parts[0].prefix, identified.parts[0].ignored) == ("first_stage_model.", 310)
    assert set(identified.parts[0].names.values()) == set(inside)


@pytest.mark.parametrize("prefix", ["", "first_stage_model."])
def test_what_training_leaves_behind_is_ignored_and_counted(kl_vae: VAE, tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "x.safetensors"
    leftovers = {"loss.logvar": torch.ones(1), "loss.discriminator.main.0.weight": torch.ones(1)}
    ema = {f"model_ema.{key.replace('.', '')}": tensor.clone() for key, tensor in kept(kl_vae, path).items()}
    everything = load_file(path) | leftovers | ema
    save_file({prefix + key: tensor for key, tensor in everything.items()}, path)
    assert identify(path).parts[0].ignored == 2 + len(ema)


def test_old_names_and_flat_shapes_of_attention(kl_vae: VAE, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for name, tensor in kept(kl_vae, path, "diffusers").items():
        for new, before in old.items():
            name = name.replace(f"attentions.0.{new}", f"attentions.0.{before}")
        renamed[name] = tensor
    save_file(renamed, path)
    assert identify(path).layout == "diffusers-old"
    flat = {
        key: tensor[..., 0] if ".attn_1." in key and tensor.dim() == 4 else tensor
        for key, tensor in kept(kl_vae, path).items()
    }
    save_file(flat, path)
    assert flat["encoder.mid.attn_1.q.weight"].shape == (64, 64, 1)
    assert identify(path).layout == "ldm"


def test_a_pipeline_folder_has_its_vae_inside(kl_vae: VAE, tmp_path: Path) -> None:
    save(kl_vae, tmp_path / "pipeline" / "vae", "diffusers")
    (tmp_path / "pipeline" / "model_index.json").write_text("{}")
    assert identify(tmp_path / "pipeline").normalization == kl_vae.normalization


def test_of_several_variants_the_plain_safetensors_is_taken(kl_vae: VAE, tmp_path: Path) -> None:
    save(kl_vae, tmp_path / "vae", "diffusers")
    for name in ("diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.bin"):
        (tmp_path / "vae" / name).write_bytes(b"not looked at")
    assert identify(tmp_path / "vae").parts[0].file.path.name == DIFFUSERS_WEIGHTS


def test_folders_with_one_vae(kl_vae: VAE, tiny_vae: VAE, tmp_path: Path) -> None:
    save(tiny_vae, tmp_path / "halves", "tiny")
    assert identify(tmp_path / "halves").halves == ("encoder", "decoder")
    save(kl_vae, tmp_path / "one" / "whatever.safetensors")
    (tmp_path / "one" / "readme.txt").write_text("hello")
    (tmp_path / "one" / "a_folder.pt").mkdir()
    assert identify(tmp_path / "one").family.name == "kl"


def test_folders_without_one_vae(kl_vae: VAE, tiny_vae: VAE, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFound):
        identify(tmp_path / "empty")
    for name in "ab":
        save(kl_vae, tmp_path / "two" / f"{name}.safetensors")
    with refuses(NotFound, "a.safetensors", "b.safetensors"):
        identify(tmp_path / "two")
    save(tiny_vae, tmp_path / "two" / "c.safetensors")
    with refuses(NotFound, "3"):
        identify(tmp_path / "two")
    (tmp_path / "two" / "a.safetensors").unlink()
    with refuses(NotFound, "b.safetensors", "c.safetensors", "kl", "tiny"):
        identify(tmp_path / "two")


def test_halves_of_different_vaes_do_not_make_one(shared_data: Path, tmp_path: Path) -> None:
    vae = shared_data / "vae"
    shutil.copy(vae / "taesd" / "taesd_encoder.safetensors", tmp_path)
    shutil.copy(vae / "taesd3" / "taesd3_decoder.safetensors", tmp_path)
    with refuses(WrongTensors, "1.weight [64, 16, 3, 3]", "[64, 4, 3, 3]", "TAESD", "TAESD3 / TAEF1", "4", "16"):
        identify(tmp_path)


@pytest.mark.parametrize("name", ["consolidated.00001.pth", "vae_part-01.pt"])
def test_a_part_of_several_files_mentions_the_others(kl_vae: VAE, tmp_path: Path, name: str) -> None:
    tensors = kept(kl_vae, tmp_path / "whole.safetensors")
    torch.save({key: tensor for i, (key, tensor) in enumerate(tensors.items()) if i % 2}, tmp_path / name)
    with refuses(WrongTensors, "parts", name.replace("01", "*").replace("000*", "*")):
        identify(tmp_path / name)
    torch.save({"x": torch.ones(2)}, tmp_path / name)
    with refuses(UnknownVAE, "1 tensor", "parts"):
        identify(tmp_path / name)


def test_the_latest_of_a_training_folder_is_named_with_the_others(kl_vae: VAE, tmp_path: Path) -> None:
    for name in ("last.ckpt", "epoch=3-step=400.ckpt"):
        torch.save({"state_dict": kept(kl_vae, tmp_path / "x.safetensors")}, tmp_path / name)
    (tmp_path / "x.safetensors").unlink()
    with refuses(NotFound, "training", "last.ckpt is", "holds epoch=3-step=400.ckpt"):
        identify(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[1]", "\0", "[" * 100_000, '{"norm_num_groups": 7}'])
def test_a_broken_config_json_is_a_user_error(kl_vae: VAE, tmp_path: Path, content: str) -> None:
    save(kl_vae, tmp_path / "vae", "diffusers")
    (tmp_path / "vae" / "config.json").write_text(content)
    if content == "[1]":  # not diffusers' own: the folder still holds one VAE, whose normalization nobody tells
        assert identify(tmp_path / "vae").normalization is None
    else:
        with refuses((BadCheckpoint, UnknownVAE), "config.json"):
            identify(tmp_path / "vae")


@pytest.mark.parametrize("path", ["absent", "absent/absent.pt", "x" * 5000, "nul\0byte"])
def test_nothing_there(tmp_path: Path, path: str) -> None:
    with pytest.raises(NotFound):
        identify(tmp_path / path)


def test_widths_that_the_norms_do_not_divide(kl_vae: VAE, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    tensors = {
        key: tensor[:30] if key.startswith("decoder.up.0.") else tensor for key, tensor in kept(kl_vae, path).items()
    }
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path)
    with refuses(UnknownVAE, "32"):
        identify(path)


def shapes_file(path: Path, shapes: dict[str, tuple[int, ...]]) -> Path:
    save_file({key: torch.zeros(shape) for key, shape in shapes.items()}, path)
    return path


@pytest.mark.parametrize("shape", [(), (7,), (0, 3, 3, 3), (2**62, 0), (1, 1, 1, 1, 1)])
def test_odd_shapes_are_a_user_error(
    kl_config: KLConfig, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]
) -> None:
    """Each tensor in turn as a number, a vector, nothing at all, too many sides: refused before anything is built."""
    with torch.device("meta"):
        encoder, decoder = family_of("kl").build(kl_config)
    nets = {"encoder.": encoder, "decoder.": decoder}
    good = {half + key: tuple(t.shape) for half, net in nets.items() for key, t in net.state_dict().items()}
    outer = [key for key in good if "conv_in" in key or "conv_out" in key or "quant" in key or ".0.block.0" in key]
    for key in outer:
        specs = {name: TensorSpec(side, torch.float32) for name, side in (good | {key: shape}).items()}
        file = TensorFile(Path("x"), "safetensors", {}, specs, lambda _: {})
        monkeypatch.setattr("vaekit.identification.identify.gather_with_vocoder", lambda _, file=file: ([file], {}))
        with pytest.raises(VaekitError):
            identify(Path("x"))


@pytest.mark.parametrize("shape", [(), (7,), (0, 4), (50, 4, 2), (50, 5), (4,) * 4])
def test_odd_codebooks_are_a_user_error(vq_vae: VAE, tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = tmp_path / "x.safetensors"
    save_file(kept(vq_vae, path) | {"quantize.embedding.weight": torch.zeros(shape)}, path)
    with pytest.raises((UnknownVAE, WrongTensors)):
        identify(path)


def test_another_kind_of_quantizer_is_not_taken_for_this_one(vq_vae: VAE, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file(kept(vq_vae, path) | {"quantize.proj.weight": torch.zeros(8, 4, 1, 1)}, path)
    with refuses(WrongTensors, "quantize.proj.weight"):
        identify(path)


def test_counts_that_no_tensors_stand_behind_build_nothing(tmp_path: Path) -> None:
    levels = {f"encoder.down.{i}.block.0.conv1.weight": (32, 32, 1, 1) for i in range(999)}
    ends = {"encoder.conv_in.weight": (32, 3, 3, 3), "encoder.conv_out.weight": (8, 32, 3, 3)}
    blocks = {"encoder.down.0.block.999.conv1.weight": (32, 32, 1, 1)}
    with pytest.raises(UnknownVAE):
        identify(shapes_file(tmp_path / "x.safetensors", levels | ends | blocks))


def test_the_shared_tiny_autoencoders(shared_data: Path) -> None:
    for folder, channels, space in (
        ("taesd", 4, "SD1 or SDXL"),
        ("taesd3", 16, "SD3 or FLUX.1"),
        ("taef2", 32, "FLUX.2"),
    ):
        identified = identify(shared_data / "vae" / folder)
        assert (identified.family.name, identified.layout) == ("tiny", "tiny")
        assert (identified.config.geometry.latent_channels, identified.config.geometry.factors[0]) == (channels, 8)
        assert space in identified.latent_spaces[0].name
        assert (identified.normalization is None) == (folder == "taef2")


SMALL_FAMILIES = ["stem_vae", "asymmetric_vae", "approx_vae", "burgess_vae", "joint_vae"]


@pytest.mark.parametrize("name", SMALL_FAMILIES)
def test_one_tensor_missing_or_misshapen_is_refused_politely(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    vae: VAE = request.getfixturevalue(name)
    native = vae.state_dict()
    for key in list(native)[:: max(1, len(native) // 12)]:
        wrong = torch.zeros(*native[key].shape[:-1], native[key].shape[-1] + 1)
        for changed in ({}, {key: wrong}):
            kept = {other: tensor for other, tensor in native.items() if other != key}
            save_file(kept | changed, tmp_path / "x.safetensors")
            with pytest.raises((UnknownVAE, WrongTensors)) as caught:
                identify(tmp_path / "x.safetensors")
            assert caught.value.remedy
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", SMALL_FAMILIES)
@pytest.mark.parametrize(
    "stranger",
    [
        "encoder.img_to_features.998.weight",
        "encoder.fc_alphas.999.weight",
        "decoder.features_to_img.998.weight",
        "decoder.conv999.weight",
        "decoder.condition_encoder.layers.999.weight",
        "encoder.999.weight",
        "decoder.998.conv.0.weight",
        "encoder.conv_64.weight",
    ],
)
def test_one_tensor_too_many_is_refused_politely(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, stranger: str
) -> None:
    vae: VAE = request.getfixturevalue(name)
    save_file(vae.state_dict() | {stranger: torch.zeros(2, 2, 3, 3)}, tmp_path / "x.safetensors")
    with pytest.raises((UnknownVAE, WrongTensors)):
        identify(tmp_path / "x.safetensors")


def test_settings_are_plain_json(kl_vae: VAE, tmp_path: Path) -> None:
    kl_vae.normalization = None
    save(kl_vae, tmp_path / "vae", "diffusers")
    settings = json.loads((tmp_path / "vae" / "config.json").read_text())
    assert settings["scaling_factor"] is None
    assert identify(tmp_path / "vae").normalization is None

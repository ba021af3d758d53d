"""Tensors beside a VAE: companions of training are ignored and named, adapters are refused."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from family_examples import EXAMPLES
from refusals import refuses
from safetensors.torch import save_file
from torch import Tensor

import vaekit
from vaekit.errors import UnknownVAE, WrongTensors
from vaekit.formats.open import open_tensors
from vaekit.identification.companions import companion_of, listed, named_companions
from vaekit.identification.locate import locate
from vaekit.library.inspect import inspect
from vaekit.vae import VAE

COMPANIONS: dict[str, tuple[str, ...]] = {
    "perceptual": (
        "loss.perceptual_loss.net.slice1.0.weight",
        "perceptual_loss.lin0.model.1.weight",
        "lpips.net.slice2.3.bias",
        "vgg.features.0.weight",
        "lins.0.model.1.weight",
    ),
    "discriminator": ("loss.discriminator.main.0.weight", "discriminator.main.2.bias", "netD.0.weight", "disc.x"),
    "optimizer": ("optimizer.state.0.exp_avg", "opt_g.state.1", "decoder.conv_in.weight.exp_avg_sq"),
    "EMA": ("model_ema.decoderconv_inweight", "ema_model.decoder.x", "shadow_params.0"),
    "aligned": ("foundation_model.blocks.0.attn.qkv.weight", "dino.cls_token", "teacher.x.y"),
    "projection": ("linear_proj.weight", "projector.0.bias"),
    "loss": ("loss.logvar", "loss.x.y", "logvar"),
    "metrics": ("val_psnr.total", "encoder.conv_in.total_ops"),
    "LoRA": ("lora_unet_down_blocks_0.lora_up.weight", "lora_te1_x.alpha"),
    "diffusion model": ("model.diffusion_model.out.2.weight", "unet.conv_in.weight"),
    "text encoder": ("cond_stage_model.x", "text_encoder.layers.0.weight"),
}
SCALARS = ("global_step", "num_updates", "decay", "n_averaged", "step")


def kept(vae: VAE, path: Path, layout: str = "diffusers", prefix: str = "", **more: Tensor) -> dict[str, Tensor]:
    """The tensors of a VAE in a layout, as a trainer would save them with others."""
    vaekit.save(vae, path, layout=layout)
    file = open_tensors(path)
    return {prefix + name: tensor.clone() for name, tensor in file.read(file.specs).items()} | more


@pytest.mark.parametrize("kind", COMPANIONS)
def test_companions_are_ignored_and_named(kind: str, kl_vae: VAE, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    tensors = kept(kl_vae, path)
    save_file(tensors | {name: torch.zeros(2, 2) for name in COMPANIONS[kind]}, path)
    read = vaekit.load(path).state_dict()
    assert all(torch.equal(tensor, read[name]) for name, tensor in kl_vae.state_dict().items())
    told = " ".join(inspect(path, hash=False, measure=False).problems)
    assert f"({len(COMPANIONS[kind])})" in told and kind in told


@pytest.mark.parametrize("name", SCALARS)
def test_counters_are_ignored_if_they_are_single_values(name: str, kl_vae: VAE, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    tensors = kept(kl_vae, path)
    save_file(tensors | {name: torch.tensor(3)}, path)
    vaekit.load(path)
    save_file(tensors | {name: torch.zeros(4, 4)}, path)
    with refuses(WrongTensors, name):
        vaekit.load(path)


@pytest.mark.parametrize("prefix", ["vae.", "first_stage_model."])
def test_names_are_those_behind_the_prefix_or_the_whole_ones(prefix: str, kl_vae: VAE, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    tensors = kept(kl_vae, path, prefix=prefix)
    more = (f"{prefix}loss.discriminator.main.0.weight", "discriminator.main.0.weight", "mystery.weight")
    save_file(tensors | {name: torch.zeros(2) for name in more}, path)
    told = " ".join(inspect(path, hash=False, measure=False).problems)
    assert "discriminator (2)" in told and "others (1)" in told


@pytest.mark.parametrize("key", ["mystery.weight", "decoder.mid_block.extra.weight", "post_quant_conv2.weight", "disc"])
def test_what_may_be_a_part_of_the_vae_is_refused(key: str, kl_vae: VAE, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file(kept(kl_vae, path) | {key: torch.zeros(2)}, path)
    with refuses(WrongTensors, key):
        vaekit.load(path)


def test_statistics_of_codebooks_are_ignored(vq_vae: VAE, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    tensors = kept(vq_vae, path, "ldm")
    codes = tensors["quantize.embedding.weight"]
    more = {"quantize.embedding.cluster_size": codes[:, 0].clone(), "quantize.embedding.embed_avg": codes.clone()}
    save_file(tensors | more, path)
    vaekit.load(path)


def fused(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same with the fused projections that diffusers adds."""
    modules = {name.removesuffix("to_q.weight") for name in tensors if name.endswith(".to_q.weight")}
    assert modules
    whole = {
        f"{module}to_qkv.{leaf}": torch.cat([tensors[f"{module}to_{part}.{leaf}"] for part in "qkv"])
        for module in modules
        for leaf in ("weight", "bias")
    }
    return tensors | whole


@pytest.mark.parametrize("prefix", ["", "vae."])
def test_fused_projections_beside_their_parts_are_ignored(prefix: str, kl_vae: VAE, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    tensors = fused(kept(kl_vae, path, prefix=prefix))
    save_file(tensors, path)
    read = vaekit.load(path).state_dict()
    assert all(torch.equal(tensor, read[name]) for name, tensor in kl_vae.state_dict().items())
    key = next(name for name in tensors if name.endswith("to_qkv.weight"))
    tensors[key][0, 0] += 1
    save_file(tensors, path)
    with refuses(WrongTensors, key, "1 fused projection", "tensor.chunk(3)", "differ"):
        vaekit.load(path)


@pytest.mark.parametrize("prefix", ["", "vae."])
def test_fused_projections_without_their_parts_are_to_be_split(prefix: str, kl_vae: VAE, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    tensors = fused(kept(kl_vae, path, prefix=prefix))
    lone = {name: tensor for name, tensor in tensors.items() if not re.search(r"\.to_[qkv]\.", name)}
    save_file(lone, path)
    facts = (f"{prefix}decoder", "to_qkv.bias", "4 fused projections", "to_q, to_k and to_v", "tensor.chunk(3)")
    with refuses(WrongTensors, *facts):
        vaekit.load(path)


def peft(tensors: dict[str, Tensor], ending: str = "") -> dict[str, Tensor]:
    """The same with a LoRA of PEFT in the attention."""
    result = dict(tensors)
    for name in [name for name in tensors if name.endswith(ending)]:
        module, leaf = name.rsplit(".", 1)
        result[f"{module}.base_layer.{leaf}"] = result.pop(name)
        result[f"{module}.lora_A.default.weight"] = torch.zeros(4, 2)
        result[f"{module}.lora_B.default.weight"] = torch.zeros(2, 4)
    return result


ADAPTERS: dict[str, tuple[str, Any]] = {
    "PEFT": ("merge_and_unload", lambda tensors: peft(tensors, "to_q.weight")),
    "kohya": ("kohya", lambda t: t | {"lora_vae_decoder_conv_in.lora_up.weight": torch.ones(2)}),
    "diffusers": ("fuse_lora", lambda t: t | {"decoder.conv_in.lora.down.weight": torch.ones(2)}),
    "LoKr": ("LyCORIS", lambda t: t | {"decoder.conv_in.lokr_w1": torch.ones(2)}),
    "LoHa": ("LyCORIS", lambda t: t | {"decoder.conv_in.hada_w1_a": torch.ones(2)}),
    "DoRA": ("LyCORIS", lambda t: t | {"decoder.conv_in.dora_scale": torch.ones(2)}),
    "DoRA of PEFT": ("merge_and_unload", lambda t: t | {"decoder.conv_in.lora_magnitude_vector": torch.ones(2)}),
    "IA3": ("merge_and_unload", lambda t: t | {"decoder.conv_in.ia3_l": torch.ones(2)}),
    "IA3 by name": ("merge_and_unload", lambda t: t | {"decoder.conv_in.ia3_l.default": torch.ones(2)}),
    "VeRA": ("merge_and_unload", lambda t: t | {"decoder.conv_in.vera_lambda_d": torch.ones(2)}),
    "weight normalization": (
        "remove_parametrizations",
        lambda t: t | {"decoder.conv_in.parametrizations.weight.original0": torch.ones(2)},
    ),
}


@pytest.mark.parametrize("prefix", ["", "vae."])
@pytest.mark.parametrize("name", ADAPTERS)
def test_adapters_of_the_vae_are_to_be_merged_first(name: str, prefix: str, kl_vae: VAE, tmp_path: Path) -> None:
    fact, added = ADAPTERS[name]
    path = tmp_path / "x.safetensors"
    tensors = {f"{prefix}{key}": tensor for key, tensor in added(kept(kl_vae, path)).items()}
    save_file(tensors, path)
    with refuses(WrongTensors, fact):
        vaekit.load(path)


def test_a_lora_in_every_layer_is_named_too(kl_vae: VAE, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file(peft(kept(kl_vae, path)), path)
    with refuses(WrongTensors, "merge_and_unload"):
        vaekit.load(path)


def test_a_kohya_lora_for_the_vae_beside_a_prefixed_vae_is_not_overlooked(kl_vae: VAE, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    more = {"lora_vae_encoder_conv_in.alpha": torch.ones(()), "lora_vae_encoder_conv_in.lora_up.weight": torch.ones(2)}
    save_file(kept(kl_vae, path, prefix="first_stage_model.") | more, path)
    with refuses(WrongTensors, "2", "kohya"):
        vaekit.load(path)


def test_a_lora_alone_is_no_vae(tmp_path: Path) -> None:
    save_file({"lora_unet_x.lora_up.weight": torch.ones(2), "lora_unet_x.alpha": torch.ones(())}, tmp_path / "x.sft")
    with refuses(UnknownVAE, "LoRA"):
        vaekit.load(tmp_path / "x.sft")


@pytest.mark.parametrize(
    ("key", "facts"),
    [
        ("base_model.model.decoder.conv_in.ia3_l", ["IA3", "merge_and_unload"]),
        ("x.y.dora_scale", ["DoRA", "LyCORIS"]),
        ("lora_unet_x.hada_w1_b", ["LoHa", "LyCORIS"]),
        ("lora_unet_x.lokr_w2", ["LoKr", "LyCORIS"]),
        ("base_model.model.decoder.conv_in.hada_w1_a.default", ["LoHa", "LyCORIS"]),
        ("base_model.model.x.vera_lambda_b", ["VeRA", "merge_and_unload"]),
        ("lora_vae_decoder_conv_in.lora_up.weight", ["LoRA", "kohya"]),
    ],
)
def test_an_adapter_alone_is_named_with_how_to_merge_it(key: str, facts: list[str], tmp_path: Path) -> None:
    save_file({key: torch.ones(2)}, tmp_path / "x.sft")
    with refuses(UnknownVAE, "1 tensor", *facts):
        vaekit.load(tmp_path / "x.sft")


def test_no_name_of_a_vae_is_taken_for_another_ones_companion() -> None:
    from shapes_of_configs import in_layout, layouts_for, native_shapes

    for config in EXAMPLES.values():
        for layout in layouts_for(config):
            for key, shape in in_layout(layout, native_shapes(config)).items():
                assert companion_of(key, shape) is None, key
                normed = key.endswith((".weight_g", ".weight_v")) or ".parametrizations." in key
                adapters = [known.name for known in listed("adapter") if known.matches(key, shape)]
                assert not adapters or normed, key  # families of waveforms have such names themselves


def test_companions_in_pickles_and_their_names(kl_vae: VAE, tmp_path: Path) -> None:
    tensors = kept(kl_vae, tmp_path / "x.safetensors", "ldm")
    content = {"state_dict": tensors | {"loss.logvar": torch.ones(()), "discriminator.x.y": torch.ones(2)}, "epoch": 3}
    torch.save(content, tmp_path / "x.ckpt")
    found = locate(open_tensors(tmp_path / "x.ckpt"))
    assert sorted(found.beside) == ["discriminator.x.y", "loss.logvar"]
    assert named_companions(found.file.specs, found.beside, "") == (
        "a discriminator (1), parameters of the training loss (1)"
    )
    assert named_companions(found.file.specs, [], "") == ""

"""Locate a VAE by its keys. Files without one are named by their content: small files with the keys of published
ones."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from family_examples import EXAMPLES
from refusals import refuses
from safetensors.torch import save, save_file
from shapes_of_configs import in_layout, native_shapes

import vaekit
from vaekit.errors import BadCheckpoint, NotFound, NotRunnable, UnknownVAE, WrongTensors, counted
from vaekit.families import layout_of
from vaekit.formats.open import TensorFile, TensorSpec
from vaekit.identification.identify import identify
from vaekit.identification.key_signatures import match_non_vae, non_vae_signatures
from vaekit.identification.locate import FEWEST_KEYS, check_one_vae, gather, locate, read_settings

Shapes = Mapping[str, tuple[int, ...]]


def file_of(shapes: Shapes) -> TensorFile:
    specs = {key: TensorSpec(tuple(shape), torch.float32) for key, shape in shapes.items()}
    return TensorFile(Path("any-name"), "safetensors", {}, specs, lambda _: {})


def each(template: str, count: int = 3) -> dict[str, tuple[int, ...]]:
    """Some matrices, one for each number."""
    return {template.replace("#", str(i)): (4, 4) for i in range(count)}


def weights(*keys: str) -> dict[str, tuple[int, ...]]:
    return dict.fromkeys(keys, (4, 4))


LDM_UNET = each("model.diffusion_model.input_blocks.#.0.in_layers.2.weight") | weights(
    "model.diffusion_model.time_embed.0.weight", "model.diffusion_model.middle_block.0.in_layers.2.weight"
)
UNET = each("down_blocks.#.resnets.0.time_emb_proj.weight") | weights(
    "time_embedding.linear_1.weight", "conv_in.weight"
)
CLIP = each("text_model.encoder.layers.#.self_attn.k_proj.weight")
WITHOUT_A_VAE: dict[str, tuple[str, Shapes]] = {
    "kohya": (
        "LoRA",
        weights(
            "lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight",
            "lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight",
            "lora_unet_down_blocks_0_attentions_0_proj_in.alpha",
            "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight",
        ),
    ),
    "diffusers LoRA": (
        "LoRA",
        weights("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.lora.down.weight"),
    ),
    "old diffusers LoRA": (
        "LoRA",
        weights("down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight"),
    ),
    "FLUX LoRA": (
        "LoRA",
        weights("transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight"),
    ),
    "PEFT": ("LoRA", weights("base_model.model.down_blocks.1.attentions.0.to_q.lora_A.weight")),
    "PEFT in memory": ("LoRA", weights("unet.mid_block.attentions.0.to_k.lora_A.default.weight")),
    "DoRA": ("LyCORIS", weights("lora_unet_mid_block.dora_scale")),
    "IA3": ("merge_and_unload", weights("base_model.model.mid_block.to_k.ia3_l")),
    "VeRA": ("merge_and_unload", weights("base_model.model.mid_block.to_k.vera_lambda_d")),
    "LoHa": ("LyCORIS", weights("lora_unet_mid_block.hada_w1_a", "lora_unet_mid_block.alpha")),
    "LoKr": ("LyCORIS", weights("lycoris_blocks_0_attn.lokr_w1", "lycoris_blocks_0_attn.lokr_w2")),
    "vaekit's latents": ("latents", {"mean": (1, 4, 8, 8), "log_variance": (1, 4, 8, 8)}),
    "ComfyUI's latents": ("ComfyUI", {"latent_tensor": (1, 4, 8, 8), "latent_format_version_0": (0,)}),
    "musubi's latents": ("latents", {"latents_1x64x96_float32": (16, 1, 8, 12)}),
    "kohya's latents": ("latents", {"latents_64x96": (4, 8, 12)}),
    "SD1 embedding": ("textual-inversion", {"emb_params": (2, 768)}),
    "SDXL embedding": ("textual-inversion", {"clip_l": (2, 768), "clip_g": (2, 1280)}),
    "diffusers embedding": ("textual-inversion", {"<cat-toy>": (768,)}),
    "IP-Adapter": ("IP-Adapter", weights("image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight")),
    "LDM ControlNet": (
        "ControlNet",
        weights("control_model.zero_convs.0.0.weight", "control_model.input_hint_block.0.weight"),
    ),
    "diffusers ControlNet": ("ControlNet", UNET | weights("controlnet_cond_embedding.conv_in.weight")),
    "FLUX ControlNet": (
        "ControlNet",
        each("controlnet_blocks.#.weight") | each("transformer_blocks.#.attn.add_q_proj.weight"),
    ),
    "T2I-Adapter": ("T2I-Adapter", weights("adapter.body.0.resnets.0.block1.weight", "adapter.conv_in.weight")),
    "AnimateDiff": (
        "AnimateDiff",
        weights("down_blocks.0.motion_modules.0.temporal_transformer.proj_in.weight"),
    ),
    "SD1 checkpoint": (
        "SD1",
        LDM_UNET | {f"cond_stage_model.transformer.{k}": s for k, s in CLIP.items()},
    ),
    "SD2 checkpoint": (
        "SD2",
        LDM_UNET | each("cond_stage_model.model.transformer.resblocks.#.attn.in_proj_weight"),
    ),
    "SDXL checkpoint": (
        "SDXL",
        LDM_UNET | each("conditioner.embedders.0.transformer.text_model.encoder.layers.#.mlp.fc1.weight"),
    ),
    "LDM UNet": ("UNet", LDM_UNET),
    "bare LDM UNet": (
        "UNet",
        {k.removeprefix("model.diffusion_model."): s for k, s in LDM_UNET.items()},
    ),
    "UNet": ("UNet", UNET),
    "FLUX.1": (
        "FLUX.1",
        each("double_blocks.#.img_attn.qkv.weight") | weights("img_in.weight"),
    ),
    "FLUX.1 in a checkpoint": (
        "FLUX.1",
        each("model.diffusion_model.double_blocks.#.img_attn.qkv.weight"),
    ),
    "FLUX.1 in diffusers": (
        "FLUX.1",
        each("transformer_blocks.#.attn.add_q_proj.weight") | each("single_transformer_blocks.#.proj_mlp.weight"),
    ),
    "FLUX.2": (
        "FLUX.2",
        each("double_blocks.#.img_attn.qkv.weight") | weights("double_stream_modulation_img.lin.weight"),
    ),
    "Chroma": (
        "Chroma",
        each("double_blocks.#.img_attn.qkv.weight") | weights("distilled_guidance_layer.in_proj.weight"),
    ),
    "HunyuanVideo": ("HunyuanVideo", each("double_blocks.#.img_attn_qkv.weight")),
    "SD3": ("SD3", each("joint_blocks.#.x_block.attn.qkv.weight")),
    "SD3 in diffusers": (
        "SD3",
        each("transformer_blocks.#.attn.add_q_proj.weight") | weights("pos_embed.proj.weight"),
    ),
    "Qwen-Image": (
        "Qwen-Image",
        each("transformer_blocks.#.img_mod.1.weight") | weights("txt_norm.weight"),
    ),
    "Sana": ("Sana", each("blocks.#.mlp.inverted_conv.conv.weight") | weights("x_embedder.proj.weight")),
    "Sana in diffusers": ("Sana", each("transformer_blocks.#.ff.conv_inverted.weight")),
    "Wan": ("Wan", each("blocks.#.self_attn.norm_q.weight") | each("blocks.#.modulation")),
    "Wan in diffusers": (
        "Wan",
        each("blocks.#.attn1.norm_q.weight") | weights("condition_embedder.time_embedder.linear_1.weight"),
    ),
    "Z-Image": (
        "Z-Image",
        each("noise_refiner.#.attention.qkv.weight") | each("context_refiner.#.attention.qkv.weight"),
    ),
    "PixArt": (
        "PixArt",
        {"y_embedder.y_embedding": (120, 4096), "t_block.1.weight": (4, 4)} | each("blocks.#.attn.qkv.weight"),
    ),
    "AuraFlow": ("AuraFlow", each("joint_transformer_blocks.#.attn.to_q.weight")),
    "Stable Cascade B": (
        "Stable Cascade",
        each("down_blocks.0.#.channelwise.0.weight") | weights("clf.1.weight"),
    ),
    "DiT": ("diffusion transformer", each("transformer_blocks.#.attn1.to_q.weight")),
    "CLIP": ("CLIP", CLIP),
    "CLIP vision": ("image encoder", each("vision_model.encoder.layers.#.self_attn.k_proj.weight")),
    "OpenCLIP": ("OpenCLIP", each("transformer.resblocks.#.attn.in_proj_weight") | weights("text_projection")),
    "T5": ("T5", each("encoder.block.#.layer.0.SelfAttention.q.weight") | weights("shared.weight")),
    "Qwen2.5": (
        "language model",
        each("model.layers.#.self_attn.q_proj.weight") | weights("model.embed_tokens.weight"),
    ),
    "ChatGLM": ("language model", each("transformer.encoder.layers.#.self_attention.query_key_value.weight")),
    "ESRGAN": ("upscaler", each("model.1.sub.#.RDB1.conv1.0.weight") | weights("model.0.weight")),
    "Real-ESRGAN": ("upscaler", each("params_ema.body.#.rdb1.conv1.weight") | weights("params_ema.conv_first.weight")),
    "SwinIR": (
        "upscaler",
        each("layers.#.residual_group.blocks.0.attn.relative_position_bias_table") | weights("conv_first.weight"),
    ),
    "compact": ("upscaler", each("body.#.weight", 6)),
    "ResNet": ("ResNet", weights("layer1.0.conv1.weight", "layer4.0.conv1.weight", "fc.weight")),
    "LPIPS": ("feature", {f"lin{i}.model.1.weight": (1, 64, 1, 1) for i in range(5)}),
    "half of something": ("encoder", each("encoder.layers.#.mixer.weight")),
    "the other half": ("decoder", each("decoder.layers.#.mixer.weight")),
    "something": ("autoencoder", each("encoder.#.mixer.weight") | each("decoder.#.mixer.weight")),
    "nothing known": ("1 tensor", {"layer.weight": (4, 4)}),
}


@pytest.mark.parametrize("name", WITHOUT_A_VAE)
def test_a_file_without_a_vae_is_called_what_it_is(name: str, tmp_path: Path) -> None:
    fact, shapes = WITHOUT_A_VAE[name]
    path = tmp_path / "sd-vae.safetensors"
    save_file({key: torch.zeros(shape) for key, shape in shapes.items()}, path)
    with refuses(UnknownVAE, fact) as caught:
        vaekit.load(path)
    assert not isinstance(caught.value, NotRunnable)
    assert counted(len(shapes), "tensor") in caught.value.found
    assert caught.value.expected and caught.value.remedy
    assert "\n" not in str(caught.value)


def test_every_stranger_in_the_table_has_a_file() -> None:
    named = {
        stranger.name for _, shapes in WITHOUT_A_VAE.values() if (stranger := match_non_vae(file_of(shapes).specs))
    }
    optimizer = "an optimizer's state"
    assert named | {optimizer} == {stranger.name for stranger in non_vae_signatures()}
    assert len({stranger.name for stranger in non_vae_signatures()}) == len(non_vae_signatures())


@pytest.mark.parametrize(
    ("fact", "content"),
    [
        ("optimizer", {"state": {0: {"step": 3, "exp_avg": torch.ones(2, 2)}}, "param_groups": [{"lr": 0.1}]}),
        ("optimizer", {"epoch": 3, "optimizer_states": {"0": {"state": {"1": {"x": torch.ones(2)}}}}}),
        ("textual-inversion", {"string_to_token": {"*": 265}, "string_to_param": {"*": torch.ones(2, 768)}, "step": 4}),
        (
            "IP-Adapter",
            {"image_proj": {"proj.weight": torch.ones(2)}, "ip_adapter": {"1.to_k_ip.weight": torch.ones(2)}},
        ),
    ],
)
def test_dictionaries_in_dictionaries(fact: str, content: dict[str, Any], tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pt")
    with refuses(UnknownVAE, fact):
        identify(tmp_path / "x.pt")


# ------------------------------------------------------------------------------------------- keys, prefixes and folders

KL = EXAMPLES["kl"]
LDM = layout_of("ldm", "kl")
assert LDM is not None
NAMES = in_layout(LDM, native_shapes(KL))


@pytest.mark.parametrize("prefix", ["", "first_stage_model.", "some.odd.prefix."])
def test_native_keys_are_found_behind_a_prefix(prefix: str) -> None:
    others = weights("model.diffusion_model.out.weight") if prefix else {}
    found = locate(file_of({prefix + name: shape for name, shape in NAMES.items()} | others))
    assert (found.layout.name, found.prefix, found.ignored) == ("ldm", prefix, len(others))
    assert found.names["encoder.quant_conv.weight"] == f"{prefix}quant_conv.weight"
    assert found.spec("encoder.quant_conv.weight").shape == NAMES["quant_conv.weight"]
    assert found.foreign("decoder.post_quant_conv.bias") == f"{prefix}post_quant_conv.bias"
    assert found.foreign("no.such.key") == f"{prefix}no.such.key"
    assert {key: found.spec(key).shape for key in found.names} == native_shapes(KL)


def test_leftovers_of_training_are_ignored_and_other_keys_refused() -> None:
    left = weights("loss.logvar", "model_ema.decay")
    assert locate(file_of(NAMES | left)).ignored == 2
    with refuses(WrongTensors, "1", "ldm", "mystery.weight"):
        locate(file_of(NAMES | weights("mystery.weight")))


def test_the_tensors_of_a_normalization_belong_to_no_network() -> None:
    found = locate(file_of(NAMES | {"bn.running_mean": (16,), "bn.running_var": (16,)}))
    assert found.statistics == {"bn.running_mean": "bn.running_mean", "bn.running_var": "bn.running_var"}
    assert not found.names.keys() & found.statistics.keys()
    assert found.ignored == 0


def test_a_few_matching_keys_are_a_coincidence() -> None:
    few = {name: NAMES[name] for name in list(NAMES)[: FEWEST_KEYS - 1]}
    with refuses(UnknownVAE, "7"):
        locate(file_of(few))
    more = {name: NAMES[name] for name in list(NAMES)[:FEWEST_KEYS]}
    assert len(locate(file_of(more)).names) == FEWEST_KEYS


def test_of_families_with_the_same_names_the_network_decides() -> None:
    """HunyuanImage's names are LDM's own."""
    config = EXAMPLES["hunyuan-image"]
    layout = layout_of("original", "hunyuan-image")
    assert layout is not None
    assert locate(file_of(in_layout(layout, native_shapes(config)))).layout.family == "hunyuan-image"
    assert locate(file_of(NAMES)).layout.family == "kl"


def test_metadata_tells_the_family_of_parts() -> None:
    keys = {"encoder.0.weight": (8, 5), "decoder.0.weight": (5, 8), "to_prior.x": (2,)}
    metadata = {"vaekit.family": "parts"}
    found = locate(replace(file_of(keys), metadata=metadata))
    assert (found.layout.family, dict(found.names)) == ("parts", {key: key for key in keys})
    with refuses(WrongTensors, "parts", "optimizer.x"):
        locate(replace(file_of(keys | {"optimizer.x": (1,)}), metadata=metadata))


def test_a_folder_of_two_vaes_is_refused() -> None:
    one, other = (locate(file_of(NAMES)) for _ in range(2))
    check_one_vae(Path("folder"), (one,))
    with refuses(NotFound, "folder", "kl"):
        check_one_vae(Path("folder"), (one, other))
    encoder, decoder = (
        locate(file_of({name: shape for name, shape in NAMES.items() if name.startswith(half)}))
        for half in ("encoder", "decoder")
    )
    check_one_vae(Path("folder"), (encoder, decoder))


def test_gathering_the_files_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.safetensors", "a.PT", "notes.txt"):
        (tmp_path / name).write_bytes(safetensors_of({"x": (2,)}))
    files, settings = gather(tmp_path)
    assert ([file.path.name for file in files], settings) == (["a.PT", "b.safetensors"], {})
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "config.json").write_text('{"scaling_factor": 0.5}')
    for name in ("x.fp16.safetensors", "x.bin", "x.safetensors"):
        (tmp_path / "vae" / name).write_bytes(safetensors_of({"x": (2,)}))
    files, settings = gather(tmp_path)
    assert ([file.path.name for file in files], settings) == (["x.safetensors"], {"scaling_factor": 0.5})


def safetensors_of(shapes: Shapes) -> bytes:
    return save({key: torch.zeros(shape) for key, shape in shapes.items()})


@pytest.mark.parametrize("count", [0, 3])
def test_a_folder_has_one_weights_file_or_two(tmp_path: Path, count: int) -> None:
    for i in range(count):
        (tmp_path / f"{i}.pt").write_bytes(b"x")
    with refuses(NotFound, str(count or "no")):
        gather(tmp_path)


@pytest.mark.parametrize(("content", "settings"), [("[1]", {}), ('{"a": 1}', {"a": 1}), (None, {})])
def test_settings_are_an_object_or_nothing(tmp_path: Path, content: str | None, settings: dict[str, Any]) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    assert read_settings(tmp_path / "config.json") == settings


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 100_000])
def test_settings_that_are_no_json_are_damage(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with refuses(BadCheckpoint, "config.json"):
        read_settings(tmp_path / "config.json")


@pytest.mark.parametrize("prefix", ["", "first_stage_model."])
def test_a_few_keys_of_an_encoder_are_not_taken_for_a_family_that_needs_others(prefix: str) -> None:
    """Asymmetric autoencoders have the names of LDM's and more: eight keys of an encoder alone are not one of them."""
    keys = [f"encoder.down.{i}.block.0.conv{j}.weight" for i in range(4) for j in (1, 2)]
    assert locate(file_of({prefix + key: (8, 8, 3, 3) for key in keys})).layout.family == "kl"


def test_a_condition_encoder_is_one_of_an_asymmetric_autoencoder() -> None:
    keys = [f"decoder.up.{i}.block.0.conv{j}.weight" for i in range(4) for j in (1, 2)]
    condition = {"decoder.encoder.layers.0.weight": (8, 3, 3, 3)}
    assert locate(file_of(dict.fromkeys(keys, (8, 8, 3, 3)) | condition)).layout.family == "asymmetric"

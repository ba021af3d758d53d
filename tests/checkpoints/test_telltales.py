"""Files that are no runnable VAE are called what they are: small files with the key names of published ones."""

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import vaekit
from vaekit.checkpoints.formats.files import TensorFile, TensorSpec, open_tensors
from vaekit.checkpoints.identify import identify
from vaekit.checkpoints.inspecting import inspect
from vaekit.checkpoints.locate import locate
from vaekit.checkpoints.telltales import recognise, recognised, stranger_in, strangers
from vaekit.errors import NotRunnable, UnknownVAE, WrongTensors

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
        "LoRA in kohya's",
        weights(
            "lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight",
            "lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight",
            "lora_unet_down_blocks_0_attentions_0_proj_in.alpha",
            "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight",
        ),
    ),
    "diffusers LoRA": (
        "LoRA in the diffusers layout",
        weights("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.lora.down.weight"),
    ),
    "old diffusers LoRA": (
        "LoRA in the diffusers layout",
        weights("down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight"),
    ),
    "FLUX LoRA": (
        "LoRA in the diffusers layout",
        weights("transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight"),
    ),
    "PEFT": ("LoRA in PEFT's", weights("base_model.model.down_blocks.1.attentions.0.to_q.lora_A.weight")),
    "PEFT in memory": ("LoRA in PEFT's", weights("unet.mid_block.attentions.0.to_k.lora_A.default.weight")),
    "LoHa": ("LyCORIS", weights("lora_unet_mid_block.hada_w1_a", "lora_unet_mid_block.alpha")),
    "LoKr": ("LyCORIS", weights("lycoris_blocks_0_attn.lokr_w1", "lycoris_blocks_0_attn.lokr_w2")),
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
        "SD1 checkpoint .* without its VAE",
        LDM_UNET | {f"cond_stage_model.transformer.{k}": s for k, s in CLIP.items()},
    ),
    "SD2 checkpoint": (
        "SD2 checkpoint .* without its VAE",
        LDM_UNET | each("cond_stage_model.model.transformer.resblocks.#.attn.in_proj_weight"),
    ),
    "SDXL checkpoint": (
        "SDXL checkpoint .* without its VAE",
        LDM_UNET | each("conditioner.embedders.0.transformer.text_model.encoder.layers.#.mlp.fc1.weight"),
    ),
    "LDM UNet": ("UNet of a Stable Diffusion", LDM_UNET),
    "bare LDM UNet": (
        "UNet of a Stable Diffusion",
        {k.removeprefix("model.diffusion_model."): s for k, s in LDM_UNET.items()},
    ),
    "UNet": ("UNet in the diffusers layout", UNET),
    "FLUX.1": (
        r"FLUX\.1 transformer.*`ae.safetensors`",
        each("double_blocks.#.img_attn.qkv.weight") | weights("img_in.weight"),
    ),
    "FLUX.1 in a checkpoint": (
        r"FLUX\.1 transformer",
        each("model.diffusion_model.double_blocks.#.img_attn.qkv.weight"),
    ),
    "FLUX.1 in diffusers": (
        r"FLUX\.1 transformer",
        each("transformer_blocks.#.attn.add_q_proj.weight") | each("single_transformer_blocks.#.proj_mlp.weight"),
    ),
    "FLUX.2": (
        r"FLUX\.2 transformer",
        each("double_blocks.#.img_attn.qkv.weight") | weights("double_stream_modulation_img.lin.weight"),
    ),
    "Chroma": (
        "Chroma transformer",
        each("double_blocks.#.img_attn.qkv.weight") | weights("distilled_guidance_layer.in_proj.weight"),
    ),
    "HunyuanVideo": ("HunyuanVideo transformer", each("double_blocks.#.img_attn_qkv.weight")),
    "SD3": ("SD3 transformer", each("joint_blocks.#.x_block.attn.qkv.weight")),
    "SD3 in diffusers": (
        "SD3 transformer",
        each("transformer_blocks.#.attn.add_q_proj.weight") | weights("pos_embed.proj.weight"),
    ),
    "Qwen-Image": (
        "Qwen-Image transformer",
        each("transformer_blocks.#.img_mod.1.weight") | weights("txt_norm.weight"),
    ),
    "Sana": ("Sana transformer", each("blocks.#.mlp.inverted_conv.conv.weight") | weights("x_embedder.proj.weight")),
    "Sana in diffusers": ("Sana transformer", each("transformer_blocks.#.ff.conv_inverted.weight")),
    "Wan": ("Wan transformer", each("blocks.#.self_attn.norm_q.weight") | each("blocks.#.modulation")),
    "Wan in diffusers": (
        "Wan transformer",
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
    "CLIP": ("CLIP text encoder", CLIP),
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
    "LPIPS": ("network of features", {f"lin{i}.model.1.weight": (1, 64, 1, 1) for i in range(5)}),
    "half of something": ("encoder of no family that vaekit knows", each("encoder.layers.#.mixer.weight")),
    "the other half": ("decoder of no family that vaekit knows", each("decoder.layers.#.mixer.weight")),
    "something": ("autoencoder of no family", each("encoder.#.mixer.weight") | each("decoder.#.mixer.weight")),
    "nothing known": ("no family that vaekit knows", {"layer.weight": (4, 4)}),
}


@pytest.mark.parametrize("name", WITHOUT_A_VAE)
def test_a_file_without_a_vae_is_called_what_it_is(name: str, tmp_path: Path) -> None:
    words, shapes = WITHOUT_A_VAE[name]
    path = tmp_path / "sd-vae.safetensors"
    save_file({key: torch.zeros(shape) for key, shape in shapes.items()}, path)
    with pytest.raises(UnknownVAE, match=words) as caught:
        vaekit.load(path)
    assert not isinstance(caught.value, NotRunnable)
    assert f"{len(shapes)} tensors" in caught.value.found
    assert caught.value.expected and caught.value.remedy
    assert "\n" not in str(caught.value)


def test_every_stranger_in_the_table_has_a_file() -> None:
    named = {stranger.name for _, shapes in WITHOUT_A_VAE.values() if (stranger := stranger_in(file_of(shapes).specs))}
    optimiser = "an optimiser's state"
    assert named | {optimiser} == {stranger.name for stranger in strangers()}
    assert len({stranger.name for stranger in strangers()}) == len(strangers())


@pytest.mark.parametrize(
    ("words", "content"),
    [
        ("optimiser", {"state": {0: {"step": 3, "exp_avg": torch.ones(2, 2)}}, "param_groups": [{"lr": 0.1}]}),
        ("optimiser", {"epoch": 3, "optimizer_states": {"0": {"state": {"1": {"x": torch.ones(2)}}}}}),
        ("textual-inversion", {"string_to_token": {"*": 265}, "string_to_param": {"*": torch.ones(2, 768)}, "step": 4}),
        (
            "IP-Adapter",
            {"image_proj": {"proj.weight": torch.ones(2)}, "ip_adapter": {"1.to_k_ip.weight": torch.ones(2)}},
        ),
    ],
)
def test_dictionaries_in_dictionaries(words: str, content: dict[str, Any], tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(UnknownVAE, match=words):
        identify(tmp_path / "x.pt")


def test_a_dictionary_in_a_million_places_is_read_once(tmp_path: Path) -> None:
    inner: dict[str, Any] = {"weight": torch.ones(1)}
    for _ in range(6):
        inner = {str(i): inner for i in range(50)}
    torch.save(inner, tmp_path / "x.pt")
    assert len(open_tensors(tmp_path / "x.pt").specs) == 1


# VAEs that are recognised and not run.


def shapes_of(build: Callable[[], nn.Module]) -> Shapes:
    with torch.device("meta"):
        return {key: tuple(tensor.shape) for key, tensor in build().state_dict().items()}


def paella() -> nn.Module:
    from diffusers.pipelines.deprecated.wuerstchen.modeling_paella_vq_model import PaellaVQModel

    return PaellaVQModel()


def movq() -> nn.Module:
    levels = ("DownEncoderBlock2D",) * 2, ("UpDecoderBlock2D",) * 2
    return diffusers.VQModel(
        block_out_channels=(32, 64),
        down_block_types=levels[0],
        up_block_types=levels[1],
        latent_channels=4,
        num_vq_embeddings=16,
        vq_embed_dim=4,
        norm_type="spatial",
    )


def temporal() -> nn.Module:
    return diffusers.AutoencoderKLTemporalDecoder(
        block_out_channels=(32, 64), down_block_types=("DownEncoderBlock2D",) * 2, layers_per_block=1
    )


def wan22() -> nn.Module:
    return diffusers.AutoencoderKLWan(
        z_dim=48, is_residual=True, base_dim=16, decoder_base_dim=32, in_channels=12, out_channels=12, patch_size=2
    )


SVD = {
    "decoder.mid.block_1.mix_factor": (1,),
    "decoder.mid.block_1.time_stack.in_layers.0.weight": (512,),
    "decoder.conv_in.weight": (512, 4, 3, 3),
    "encoder.conv_in.weight": (128, 3, 3, 3),
} | {f"encoder.down.{i}.block.0.conv1.weight": (128, 128, 3, 3) for i in range(4)}
WAN22 = {
    "decoder.upsamples.0.upsamples.0.residual.2.weight": (1024, 1024, 3, 3, 3),
    "decoder.conv1.weight": (1024, 48, 3, 3, 3),
    "decoder.middle.0.residual.0.gamma": (1024, 1, 1, 1),
    "conv2.weight": (48, 48, 1, 1, 1),
}
TAEHV = (
    {f"decoder.{i}.conv.{j}.weight": (256, 256, 3, 3) for i in (3, 4, 5) for j in (0, 2, 4)}
    | {"decoder.1.weight": (256, 16, 3, 3), "decoder.7.conv.weight": (256, 256, 1, 1)}
    | {f"encoder.{i}.conv.{j}.weight": (64, 64, 3, 3) for i in (4, 5, 6) for j in (0, 2, 4)}
    | {"encoder.0.weight": (64, 3, 3, 3), "encoder.2.conv.weight": (64, 128, 1, 1)}
)
MOCHI_DECODER = {"blocks.0.0.weight": (768, 12, 1, 1, 1), "blocks.2.blocks.3.stack.5.weight": (256, 256, 3, 3, 3)}
PREVIEWER = {"blocks.0.weight": (512, 16, 1, 1)} | {f"blocks.{i}.running_mean": (512,) for i in (2, 5, 8, 11)}
EFFNET = {
    "backbone.1.0.block.0.1.running_mean": (24,),
    "backbone.0.0.weight": (24, 3, 3, 3),
    "mapper.0.weight": (16, 1280, 1, 1),
}
LTX = {
    "decoder.up_blocks.0.res_blocks.0.conv1.conv.weight": (1024, 1024, 3, 3, 3),
    "decoder.conv_in.conv.weight": (1024, 128, 3, 3, 3),
    "per_channel_statistics.mean-of-means": (128,),
}
RECOGNISED: dict[str, tuple[str, int | None, int | None, Callable[[], Shapes]]] = {
    "ConsistencyDecoder": (
        "ConsistencyDecoder",
        4,
        8,
        lambda: shapes_of(
            lambda: diffusers.ConsistencyDecoderVAE(
                encoder_block_out_channels=(32, 64), encoder_down_block_types=("DownEncoderBlock2D",) * 2
            )
        ),
    ),
    "SVD": ("Stable Video Diffusion", 4, 8, lambda: SVD),
    "SVD in diffusers": ("Stable Video Diffusion", 4, 8, lambda: shapes_of(temporal)),
    "Wan 2.2": ("Wan 2.2", 48, 16, lambda: WAN22),
    "Wan 2.2 in diffusers": ("Wan 2.2", 48, 16, lambda: shapes_of(wan22)),
    "Cosmos": (
        "Cosmos tokenizer",
        None,
        None,
        lambda: weights("decoder.unpatcher3d.wavelets", "encoder.conv_in.0.conv3d.weight"),
    ),
    "Cosmos in diffusers": ("Cosmos tokenizer", 16, None, lambda: shapes_of(diffusers.AutoencoderKLCosmos)),
    "stage A": (
        "Stable Cascade stage A",
        4,
        4,
        lambda: {"vquantizer.codebook.weight": (8192, 4), "in_block.1.weight": (192, 12, 1, 1)},
    ),
    "stage A in diffusers": ("Stable Cascade stage A", 4, 4, lambda: shapes_of(paella)),
    "effnet": ("Stable Cascade effnet encoder", 16, 32, lambda: EFFNET),
    "previewer": ("Stable Cascade previewer", 16, None, lambda: PREVIEWER),
    "TAEHV": ("TAEHV / TAEW (tiny, for video)", 16, None, lambda: TAEHV),
    "TAEW2.2": ("TAEHV / TAEW (tiny, for video)", 48, None, lambda: TAEHV | {"decoder.1.weight": (256, 48, 3, 3)}),
    "CogVideoX": ("CogVideoX", 16, 8, lambda: shapes_of(diffusers.AutoencoderKLCogVideoX)),
    "LTX": ("LTX-Video", 128, 32, lambda: LTX),
    "LTX in diffusers": ("LTX-Video", 128, 32, lambda: shapes_of(diffusers.AutoencoderKLLTXVideo)),
    "Mochi": ("Mochi 1", 12, 8, lambda: MOCHI_DECODER),
    "Mochi in diffusers": ("Mochi 1", 12, 8, lambda: shapes_of(diffusers.AutoencoderKLMochi)),
    "HunyuanVideo": ("HunyuanVideo", 16, 8, lambda: shapes_of(diffusers.AutoencoderKLHunyuanVideo)),
    "MoVQ": ("MoVQ (Kandinsky 2)", 4, 8, lambda: shapes_of(movq)),
    "sound": ("ACE-Step (music)", None, None, lambda: weights("vocoder.backbone.channel_layers.0.0.bias")),
    "solid shapes": ("Hunyuan3D shape VAE", None, None, lambda: weights("geo_decoder.cross_attn_decoder.ln_1.bias")),
    "Oobleck": ("Stable Audio (Oobleck)", 64, None, lambda: weights("decoder.layers.1.layers.0.beta")),
}
NEWER = {
    "AutoencoderKLQwenImage21": ("Qwen-Image 2.1", 64),
    "AutoencoderKLHunyuanVideo15": ("HunyuanVideo 1.5 / HunyuanImage refiner", 32),
    "AutoencoderKLHunyuanImageRefiner": ("HunyuanVideo 1.5 / HunyuanImage refiner", 32),
    "AutoencoderKLLTX2Video": ("LTX-Video", 128),
    "AutoencoderKLKVAE": ("KVAE (Kandinsky)", 16),
    "AutoencoderKLKVAEVideo": ("KVAE (Kandinsky)", 16),
    "AutoencoderKLAllegro": ("Allegro", 4),
    "AutoencoderKLMagvit": ("EasyAnimate (MagVIT)", 16),
    "AutoencoderVidTok": ("VidTok", 4),
}


def check(shapes: Shapes, name: str, channels: int | None, factor: int | None, prefix: str = "") -> None:
    """Exactly one entry says yes, no runnable family takes the file, and the error says what runs it."""
    file = file_of({prefix + key: shape for key, shape in shapes.items()})
    listed = "\n".join(file.specs)
    claims = [known for known in recognised() if known.telltale.prefix_in(listed, file.specs) is not None]
    assert [known.name for known in claims] == [name]
    seen = recognise(file.specs)
    assert seen is not None
    assert (seen[0].channels_of(file.specs, seen[1]), seen[0].factor, seen[1]) == (channels, factor, prefix)
    with pytest.raises(NotRunnable, match="recognised, not runnable") as caught:
        locate(file)
    assert name in caught.value.found and caught.value.remedy.startswith("Run it in ")


@pytest.mark.parametrize("prefix", ["", "first_stage_model.", "vae."])
@pytest.mark.parametrize("sample", RECOGNISED)
def test_recognised_by_exactly_one_entry(sample: str, prefix: str) -> None:
    name, channels, factor, build = RECOGNISED[sample]
    check(build(), name, channels, factor, prefix)


@pytest.mark.parametrize("sample", NEWER)
def test_what_newer_diffusers_has(sample: str) -> None:
    if not hasattr(diffusers, sample):
        pytest.skip(f"this diffusers has no {sample}")
    name, channels = NEWER[sample]
    factor = next(known.factor for known in recognised() if known.name == name)
    check(shapes_of(getattr(diffusers, sample)), name, channels, factor)


def test_every_recognised_vae_has_a_sample() -> None:
    sampled = {name for name, *_ in RECOGNISED.values()} | {name for name, _ in NEWER.values()}
    assert sampled == {known.name for known in recognised()}


RUNNABLE_SOON = {
    "AsymmetricAutoencoderKL": {},
    "AutoencoderDC": {},
    "AutoencoderKLQwenImage": {"base_dim": 16},
    "AutoencoderKLWan": {"base_dim": 16},
    "AutoencoderKLFlux2": {},
    "AutoencoderKL": {},
    "AutoencoderTiny": {},
    "VQModel": {},
}


@pytest.mark.parametrize("name", RUNNABLE_SOON)
def test_pictures_vaes_are_left_to_their_families(name: str) -> None:
    shapes = shapes_of(lambda: getattr(diffusers, name)(**RUNNABLE_SOON[name]))
    assert recognise(file_of(shapes).specs) is None


def test_the_rest_of_a_checkpoint_does_not_hide_it() -> None:
    image_encoder = "conditioner.embedders.0.open_clip.model.visual.transformer.resblocks.#.mlp.c_fc.weight"
    inside = {f"first_stage_model.{key}": shape for key, shape in SVD.items()}
    seen = recognise(file_of(inside | LDM_UNET | each(image_encoder)).specs)
    assert seen is not None
    assert (seen[0].name, seen[1]) == ("Stable Video Diffusion", "first_stage_model.")


def inspected(tmp_path: Path) -> Path:
    path = tmp_path / "x.safetensors"
    save_file(
        {f"vae.{key}": torch.zeros([1 if side > 48 else side for side in shape]) for key, shape in TAEHV.items()}, path
    )
    return path


def test_inspect_says_what_it_is_and_that_it_does_not_run(tmp_path: Path) -> None:
    seen = inspect(inspected(tmp_path))
    assert (seen.runnable, seen.family, seen.latent_channels, seen.factor) == (
        False,
        "TAEHV / TAEW (tiny, for video)",
        16,
        None,
    )
    assert (seen.prefix, seen.halves, seen.frame, seen.config) == ("vae.", ("encoder", "decoder"), None, {})
    assert seen.parameters > 0 and seen.dtypes == ("float32",)
    assert "tiny autoencoder" in seen.problems[0] and "Run it in" in seen.problems[0]
    json.dumps(dataclasses.asdict(seen))


def test_what_runs_says_so(kl_vae: vaekit.VAE, tmp_path: Path) -> None:
    vaekit.save(kl_vae, tmp_path / "x.safetensors")
    assert inspect(tmp_path / "x.safetensors").runnable is True


def test_a_broken_vae_is_still_a_broken_vae(kl_vae: vaekit.VAE, tmp_path: Path) -> None:
    tensors = {key: tensor.contiguous() for key, tensor in kl_vae.state_dict().items()}
    save_file(tensors | {"decoder.mid.block_9.conv1.weight": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(WrongTensors, match="tensors too many"):
        identify(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    "ending", ["", ".lora_down.weight.x", "resnets.0.norm1.conv_b.weight.x", ".lora.down.weight.x"]
)
def test_hostile_names_take_no_time(ending: str) -> None:
    keys = [f"{'lora_.' * 25}{i}{ending}" for i in range(30_000)] + ["a." * 100_000, "x\ny"]
    specs = file_of(dict.fromkeys(keys, (1,))).specs
    start = time.process_time()
    assert recognise(specs) is None
    assert stranger_in(specs) is None
    assert time.process_time() - start < 10

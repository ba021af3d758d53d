"""Which diffusion model a checkpoint is of, and what that says of the VAE inside."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vaekit.formats.open import TensorSpec
from vaekit.identification.host_model import host_model_of, host_models
from vaekit.identification.identify import identify
from vaekit.identification.metadata import normalization_text
from vaekit.library.inspect import inspect
from vaekit.normalization import LatentNormalization

UNET = "model.diffusion_model."
CROSS = f"{UNET}input_blocks.{{}}.1.transformer_blocks.0.attn2.to_k.weight"
ATTENTION = {CROSS.format(1): (320, 768), CROSS.format(4): (640, 768)}
FIRST = f"{UNET}input_blocks.0.0.weight"
SD2_ATTENTION = {CROSS.format(1): (320, 1024), CROSS.format(4): (640, 1024)}
SDXL_ATTENTION = {CROSS.format(4): (640, 2048)}
FLUX, SD3, LUMINA, AURA = (
    {f"{UNET}{key}": (1, 1)}
    for key in (
        "double_blocks.0.img_attn.qkv.weight",
        "joint_blocks.0.context_block.attn.qkv.weight",
        "cap_embedder.1.weight",
        "double_layers.0.attn.w1q.weight",
    )
)
SIGNS: dict[str, tuple[str | None, dict[str, tuple[int, ...]]]] = {
    "SD1": ("SD1", ATTENTION | {"cond_stage_model.transformer.text_model.final_layer_norm.weight": (768,)}),
    "SD1 without its text encoder": ("SD1", ATTENTION),
    "SD1's text encoder alone": ("SD1", {"cond_stage_model.transformer.text_model.final_layer_norm.weight": (768,)}),
    "SD2": ("SD2", SD2_ATTENTION | {FIRST: (320, 4, 3, 3), "cond_stage_model.model.x": (1,)}),
    "SD2 without its first layer": ("SD2", SD2_ATTENTION),
    "SD2 inpainting": ("SD2", SD2_ATTENTION | {FIRST: (320, 9, 3, 3)}),
    "SD2 depth": ("SD2", SD2_ATTENTION | {FIRST: (320, 5, 3, 3)}),
    "SD1 inpainting": ("SD1", ATTENTION | {FIRST: (320, 9, 3, 3)}),
    "InstructPix2Pix": ("SD1", ATTENTION | {FIRST: (320, 8, 3, 3)}),
    "SDXL": ("SDXL", SDXL_ATTENTION | {"conditioner.embedders.1.model.ln_final.weight": (1280,)}),
    "CosXL Edit": ("SDXL", SDXL_ATTENTION | {FIRST: (320, 8, 3, 3)}),
    "SDXL's text encoders alone": ("SDXL", {"conditioner.embedders.1.model.ln_final.weight": (1280,)}),
    "SDXL refiner": ("SDXL", {CROSS.format(4): (768, 1280), "conditioner.embedders.0.model.ln_final.weight": (1280,)}),
    "SD3": ("SD3", SD3 | {f"{UNET}x_embedder.proj.weight": (1536, 16, 2, 2)}),
    "FLUX.1": ("FLUX.1", FLUX | {f"{UNET}img_in.weight": (3072, 64)}),
    "FLUX.1 bare": ("FLUX.1", {"double_blocks.0.img_attn.qkv.weight": (1, 1)}),
    "FLUX.1 depth": ("FLUX.1", FLUX | {f"{UNET}img_in.weight": (3072, 128)}),
    "FLUX.1 Fill": ("FLUX.1", FLUX | {f"{UNET}img_in.weight": (3072, 384)}),
    "FLUX.2": (
        "FLUX.2",
        FLUX | {f"{UNET}double_stream_modulation_img.lin.weight": (1, 1), f"{UNET}img_in.weight": (6144, 128)},
    ),
    "Lumina 2": ("Lumina 2 / Z-Image", LUMINA | {f"{UNET}x_embedder.weight": (2304, 64)}),
    "AuraFlow": ("AuraFlow", AURA | {f"{UNET}init_x_linear.weight": (3072, 16)}),
    "x4 upscaler": (
        "SD x4 upscaler",
        {FIRST: (256, 7, 3, 3), CROSS.format(4): (512, 1024), f"{UNET}label_emb.weight": (1000, 1024)},
    ),
    "x4 upscaler with its schedule": (
        "SD x4 upscaler",
        {FIRST: (256, 7, 3, 3), CROSS.format(1): (1, 1024), "low_scale_model.betas": (1000,)},
    ),
    "Playground 2.5": (None, SDXL_ATTENTION | {"edm_mean": (1, 4, 1, 1), "edm_std": (1, 4, 1, 1)}),
    "SVD": (
        None,
        SD2_ATTENTION | {FIRST: (320, 8, 3, 3), "conditioner.embedders.3.encoder.encoder.conv_in.weight": (1,)},
    ),
    "SVD's UNet": (None, SD2_ATTENTION | {FIRST: (320, 8, 3, 3)}),
    "SD1's blocks over other latents": (None, ATTENTION | {FIRST: (320, 3, 3, 3)}),
    "SDXL's blocks over other latents": (None, SDXL_ATTENTION | {FIRST: (320, 16, 3, 3)}),
    "LDM inpainting": (None, {FIRST: (256, 7, 3, 3)}),
    "a classifier of ImageNet": (None, {FIRST: (256, 3, 3, 3), f"{UNET}label_emb.weight": (1000, 1024)}),
    "SD3's blocks over other latents": (None, SD3 | {f"{UNET}x_embedder.proj.weight": (1536, 4, 2, 2)}),
    "MMAudio": (None, {"joint_blocks.0.latent_block.attn.qkv.weight": (1, 1)}),
    "FLUX.1's blocks over other latents": (None, FLUX | {f"{UNET}img_in.weight": (3072, 16)}),
    "FLUX.2's blocks over other latents": (
        None,
        FLUX | {f"{UNET}double_stream_modulation_img.lin.weight": (1, 1), f"{UNET}img_in.weight": (6144, 64)},
    ),
    "Lumina-Next": (None, LUMINA | {f"{UNET}x_embedder.weight": (2304, 16)}),
    "AuraFlow's blocks over other latents": (None, AURA | {f"{UNET}init_x_linear.weight": (3072, 64)}),
    "HunyuanVideo": (None, {"double_blocks.0.x": (1,), "txt_in.individual_token_refiner.blocks.0.norm1.weight": (1,)}),
    "two denoisers": (None, SD3 | FLUX),
    "a swapped text encoder": ("SD1", ATTENTION | {"conditioner.embedders.1.model.ln_final.weight": (1280,)}),
    "nothing telling": (None, {"some.weight": (3, 3), "xdouble_blocks.0.x": (1,)}),
}


@pytest.mark.parametrize("name", SIGNS)
def test_the_model_is_read_off_its_tensors(name: str) -> None:
    expected, shapes = SIGNS[name]
    around = host_model_of({key: TensorSpec(shape, torch.float16) for key, shape in shapes.items()})
    assert (around.name if around else None) == expected


def test_packed_weights_tell_no_number_of_inputs() -> None:
    """FLUX.1 in NF4: two 4-bit values a byte, in one column."""
    specs = {key: TensorSpec(shape, torch.uint8) for key, shape in FLUX.items()}
    around = host_model_of(specs | {f"{UNET}img_in.weight": TensorSpec((98304, 1), torch.uint8)})
    assert around is not None
    assert around.name == "FLUX.1"


def test_every_model_tells_how_many_inputs_it_has() -> None:
    for model in host_models():
        assert model.inputs, model.name
        assert all(sign.columns for sign in model.inputs), model.name


def test_every_model_has_a_latent_space_that_the_table_of_kinds_knows() -> None:
    for model in host_models():
        assert model.latent_space is not None, model.name
        assert model.vae.endswith(".")


@pytest.mark.parametrize(
    ("around", "channels", "space", "normalization"),
    [
        ("SD1", 4, "SD1 / SD2", LatentNormalization((0.0,), (0.18215,))),
        ("SD2", 4, "SD1 / SD2", LatentNormalization((0.0,), (0.18215,))),
        ("SDXL", 4, "SDXL", LatentNormalization((0.0,), (0.13025,))),
        ("SD3", 16, "SD3 / SD3.5", LatentNormalization((0.0609,), (1.5305,))),
        ("FLUX.1", 16, "FLUX.1", LatentNormalization((0.1159,), (0.3611,))),
    ],
)
def test_shape_twins_are_told_apart_by_the_checkpoint_around_them(
    sparse_file: Callable[..., Path],
    sd_shapes: Callable[..., dict[str, tuple[int, ...]]],
    around: str,
    channels: int,
    space: str,
    normalization: LatentNormalization,
) -> None:
    path = sparse_file("x.safetensors", SIGNS[around][1] | sd_shapes(channels, "vae."))
    seen = identify(path)
    assert ([one.name for one in seen.latent_spaces], seen.normalization) == ([space], normalization)
    assert seen.normalization_source == f"its checkpoint, which is {around}'s"
    told = sparse_file(
        "y.safetensors",
        SIGNS[around][1] | sd_shapes(channels, "vae."),
        {"vaekit.normalization": normalization_text(LatentNormalization((0.0,), (9.0,)))},
    )
    assert identify(told).normalization == LatentNormalization((0.0,), (9.0,))


def test_a_checkpoint_that_disagrees_with_its_vae_tells_nothing(
    sparse_file: Callable[..., Path], sd_shapes: Callable[..., dict[str, tuple[int, ...]]]
) -> None:
    seen = identify(sparse_file("x.safetensors", SIGNS["FLUX.1"][1] | sd_shapes(4, "vae.")))
    assert ([one.name for one in seen.latent_spaces], seen.normalization) == (
        ["SD1 / SD2", "SDXL", "Playground 2.5"],
        None,
    )


def test_inspect_says_how_it_knows(
    sparse_file: Callable[..., Path], sd_shapes: Callable[..., dict[str, tuple[int, ...]]]
) -> None:
    facts = inspect(sparse_file("x.safetensors", SIGNS["SDXL"][1] | sd_shapes(4, "first_stage_model.")), measure=False)
    assert (facts.candidate_models, facts.normalization) == (("SDXL",), LatentNormalization((0.0,), (0.13025,)))
    assert facts.normalization_source == "its checkpoint, which is SDXL's"
